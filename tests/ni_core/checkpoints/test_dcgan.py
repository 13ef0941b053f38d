"""DCGAN-type networks: architecture from shapes, or from a layout where shapes leave doubt."""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ni_core.checkpoints import load_generator, read_generator
from ni_core.checkpoints.document import open_document
from ni_core.errors import CheckpointError
from ni_core.generators import sample_z
from tests.ni_core.checkpoints.cases import OPEN, Case, largest_difference

ABSENT = pytest.mark.skipif(
    not (OPEN / "csinva_dcgan").is_dir(), reason="the reference cases are not on this machine"
)


class View(nn.Module):
    """Reshape, from either order."""

    def __init__(self, *shape: int, channels_last: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            channels, height, width = self.shape
            return x.view(-1, height, width, channels).movedim(3, 1)
        return x.view(-1, *self.shape)


class Crop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[..., :-1, :-1]


def norm(channels: int, eps: float = 1e-5) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=eps)


def dcgan(
    z_dim: int, widths: list[int], kernels: list[int], *, bias: bool = False
) -> nn.Sequential:
    """A network as PyTorch's example: kernels of all layers, widths of their outputs."""
    layers: list[nn.Module] = []
    inputs = z_dim
    for index, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
        last_cut = kernel == 1
        stride = 1 if index == 0 or last_cut else 2
        padding = 0 if index == 0 else 2 if last_cut else kernel // 2 - 1
        layers.append(nn.ConvTranspose2d(inputs, width, kernel, stride, padding, bias=bias))
        if index < len(widths) - 1:
            layers += [norm(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Tanh())


def perceptron(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Tanh())


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fill everything, running statistics too."""
    source = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            values = torch.rand(tensor.shape, generator=source)
            tensor.copy_(values + 0.5 if name.endswith("var") else values - 0.5)
    return network.eval()


def stored(
    network: nn.Module, folder: Path, wrap: Callable[[Any], Any] = lambda state: state
) -> Path:
    torch.save(wrap(network.state_dict()), folder / "g")
    return folder / "g"


def rendered(network: nn.Module, z: Tensor) -> Tensor:
    with torch.no_grad():
        image: Tensor = network(z)
        return image.expand(-1, 3, -1, -1)


@pytest.mark.parametrize(
    ("z_dim", "widths", "kernels", "resolution"),
    [
        (100, [16, 8, 8, 4, 3], [4, 4, 4, 4, 4], 64),
        (100, [16, 8, 8, 4, 1], [4, 4, 4, 4, 1], 28),
        (7, [6, 3], [4, 4], 8),
        (32, [8, 8, 1], [7, 4, 4], 28),
        (32, [8, 6, 4, 4, 4, 3], [4, 4, 4, 4, 4, 4], 128),
        (16, [8, 8, 3], [4, 2, 6], 16),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_stacks_of_transposed_convolutions_are_read_from_shapes(
    z_dim: int, widths: list[int], kernels: list[int], resolution: int, bias: bool, tmp_path: Path
) -> None:
    network = randomised(dcgan(z_dim, widths, kernels, bias=bias))
    generator = load_generator(stored(network, tmp_path))
    assert (generator.resolution, generator.z_dim) == (resolution, z_dim)
    z = sample_z(generator, 3, seed=1)
    expected = rendered(network, z[:, :, None, None])
    torch.testing.assert_close(generator.synthesize(z), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("widths", "shape"),
    [((64, 32, 784), (1, 28, 28)), ((10, 16, 16, 768), (3, 16, 16)), ((5, 64), (1, 8, 8))],
)
def test_perceptrons_are_read_from_shapes(
    widths: tuple[int, ...], shape: tuple[int, ...], tmp_path: Path
) -> None:
    network = randomised(perceptron(*widths))
    generator = load_generator(stored(network, tmp_path))
    z = sample_z(generator, 3, seed=1)
    expected = rendered(nn.Sequential(network, View(*shape)), z)
    torch.testing.assert_close(generator.synthesize(z), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"netG": state, "netD": {}, "epoch": 3},
        lambda state: {"generator": {f"module.{key}": state[key] for key in state}},
        lambda state: (
            {key.replace("0.", "main.0.", 1): state[key] for key in state}
            and {f"main.{key}": state[key] for key in state}
        ),
    ],
    ids=["training", "parallel", "named"],
)
def test_state_dicts_are_found_inside_training_files(
    wrap: Callable[[Mapping[str, Tensor]], Any], tmp_path: Path
) -> None:
    network = randomised(dcgan(9, [8, 3], [4, 4]))
    generator = load_generator(stored(network, tmp_path, wrap))
    z = sample_z(generator, 2, seed=1)
    expected = rendered(network, z[:, :, None, None])
    torch.testing.assert_close(generator.synthesize(z), expected, atol=1e-5, rtol=0)


def test_a_safetensors_file_is_read_with_a_layout(tmp_path: Path) -> None:
    network = randomised(dcgan(9, [8, 3], [4, 4]))
    save_file(network.state_dict(), tmp_path / "g")
    operations = [
        ["conv_transpose", "0", 1, 0], ["batch_norm", "1"], ["relu"],
        ["conv_transpose", "3", 2, 1], ["tanh"],
    ]  # fmt: skip
    generator = load_generator(tmp_path / "g", layout=layout(tmp_path, operations=operations))
    z = sample_z(generator, 2, seed=1)
    expected = rendered(network, z[:, :, None, None])
    torch.testing.assert_close(generator.synthesize(z), expected, atol=1e-5, rtol=0)


def layout(folder: Path, **fields: Any) -> Path:
    path = folder / "layout.json"
    path.write_text(json.dumps(fields))
    return path


def test_a_layout_beside_the_file_is_found(tmp_path: Path) -> None:
    path = stored(nn.Sequential(nn.Linear(5, 64)), tmp_path)
    fields = {"range": "unit", "operations": [["linear", "0"], ["reshape", 1, 8, 8, "CHW"]]}
    (tmp_path / "g.json").write_text(json.dumps(fields))
    assert read_generator(path).config.operations[1] == ("reshape", 1, 8, 8, "CHW")


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(), nn.Conv2d(8, 1, 4)),
        nn.Sequential(nn.ConvTranspose2d(8, 8, 4), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 3, 4)),
        nn.Sequential(nn.ConvTranspose2d(8, 4, 4), norm(4), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3)),
        nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 64)),
        nn.Sequential(nn.Linear(8, 64), nn.Unflatten(1, (4, 4, 4)), nn.ConvTranspose2d(4, 3, 4)),
    ],
    ids=["discriminator", "no activation", "odd kernel", "linear only", "dense start"],
)
def test_doubtful_shapes_ask_for_a_layout(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give a layout"):
        load_generator(stored(network, tmp_path))


@pytest.mark.parametrize(
    ("fields", "meaning"),
    [
        ({}, "operations are missing"),
        ({"operations": [], "size": 3}, "'size' is unknown"),
        ({"operations": ["relu"]}, "no list of lists"),
        ({"operations": [["relu"]]}, "no linear layer"),
        ({"operations": [["linear", "9"]]}, "asks for 9.weight"),
        ({"operations": [["linear", "0"], ["dance"]]}, "dance"),
        ({"operations": [["linear", "0"], ["linear", "0"]]}, "operation 1, linear"),
        ({"operations": [["linear", "0"], ["tanh"]]}, "not 1 or 3 channels"),
        ({"operations": [["conv", "0", 1, 1]]}, "has the shape"),
        ({"operations": [["linear", "0"], ["reshape", 1, 8, 9, "CHW"]]}, "reshape"),
        ({"operations": [["linear", "0"], ["reshape", 1, 8, 8, "CHW"]], "range": "x"}, "range 'x'"),
        ({"operations": [["linear", "0"], ["upsample", 2, "nearest"]]}, "upsample"),
        ({"operations": [["linear"]]}, "linear"),
    ],
)
def test_a_wrong_layout_is_refused(fields: dict[str, Any], meaning: str, tmp_path: Path) -> None:
    path = stored(nn.Sequential(nn.Linear(5, 64)), tmp_path)
    with pytest.raises(CheckpointError, match=meaning):
        load_generator(path, layout=layout(tmp_path, **fields))


def test_left_over_keys_of_a_layout_are_noted(tmp_path: Path) -> None:
    path = stored(nn.Sequential(nn.Linear(5, 64), nn.Linear(64, 64)), tmp_path)
    operations = [["linear", "0"], ["reshape", 1, 8, 8, "CHW"]]
    checkpoint = read_generator(path, layout=layout(tmp_path, operations=operations))
    assert checkpoint.notes == ("not used: 1.weight, 1.bias",)


# Files of others. ----------------------------------------------------------------------------


@ABSENT
def test_the_reference_dcgan_makes_the_reference_images() -> None:
    case = Case(OPEN / "csinva_dcgan" / "mnist_ngf16_random")
    generator = load_generator(case.folder / "netG_epoch_99.pth")
    ours = generator.synthesize(case.io["z"].flatten(1))
    assert largest_difference(ours[:, :1], case.io["img_eval"]) < 1e-5


@ABSENT
def test_the_reference_perceptron_makes_the_reference_images() -> None:
    case = Case(OPEN / "csinva_dcgan" / "real_weights")
    generator = load_generator(case.folder / "G--300.ckpt")
    assert largest_difference(
        generator.synthesize(case.io["mlp_z"])[:, :1], case.io["mlp_img"]
    ) < 1e-5  # fmt: skip


@ABSENT
def test_the_reference_discriminator_is_no_generator() -> None:
    with pytest.raises(CheckpointError, match="give a layout"):
        load_generator(OPEN / "csinva_dcgan" / "real_weights" / "netD_epoch_99.pth")


class Real(NamedTuple):
    """A real file: its network in plain layers, how z enters it, and its layout if it needs one."""

    file: str
    network: nn.Sequential
    shape: tuple[int, ...]
    unit: bool = False
    layout: str | None = None


ANIME_LAYOUT = """{"range": "unit", "operations": [
  ["linear", "dense_43"], ["reshape", 128, 4, 4, "HWC"],
  ["conv_transpose", "conv2d_transpose_55", 2, 1], ["relu"],
  ["batch_norm", "batch_normalization_44", 1e-3],
  ["conv_transpose", "conv2d_transpose_56", 2, 1], ["relu"],
  ["batch_norm", "batch_normalization_45", 1e-3],
  ["conv_transpose", "conv2d_transpose_57", 2, 1], ["relu"],
  ["batch_norm", "batch_normalization_46", 1e-3],
  ["conv_transpose", "conv2d_transpose_58", 2, 1], ["relu"],
  ["batch_norm", "batch_normalization_47", 1e-3],
  ["conv_transpose", "conv2d_transpose_59", 1, 1], ["crop", 64, 64], ["sigmoid"]]}"""

CELEBA_LAYOUT = """{"prior": "uniform", "operations": [
  ["conv_transpose", "generator_deconv.0.0", 1, 0], ["batch_norm", "generator_deconv.0.1"],
  ["conv", "generator_deconv.1.0", 1, 1], ["batch_norm", "generator_deconv.1.1"],
  ["leaky_relu", 0.2],
  ["conv_transpose", "generator_deconv.2.0", 2, 1], ["batch_norm", "generator_deconv.2.1"],
  ["leaky_relu", 0.2],
  ["conv_transpose", "generator_deconv.3.0", 2, 1], ["batch_norm", "generator_deconv.3.1"],
  ["leaky_relu", 0.2],
  ["conv_transpose", "generator_deconv.4.0", 2, 1], ["tanh"]]}"""


def anime() -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(128, 2048), View(128, 4, 4, channels_last=True)]
    for inputs, outputs in ((128, 64), (64, 64), (64, 32), (32, 32)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.ReLU(), norm(outputs, 1e-3)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 4, 1, 1), Crop(), nn.Sigmoid())


def celeba() -> nn.Sequential:
    layers: list[nn.Module] = [nn.ConvTranspose2d(100, 256, 4, bias=False), norm(256)]
    layers += [nn.Conv2d(256, 128, 3, padding=1, bias=False), norm(128), nn.LeakyReLU(0.2)]
    for inputs, outputs in ((128, 64), (64, 32)):
        layers.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))
        layers += [norm(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh())


def wgan_gp() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride in ((64, 256, 3, 2), (256, 128, 4, 1), (128, 64, 3, 2)):
        layers.append(nn.ConvTranspose2d(inputs, outputs, kernel, stride))
        layers += [norm(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(64, 1, 4, 2), nn.Tanh())


def decoder() -> nn.Sequential:
    layers = (nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())
    return nn.Sequential(*layers, View(1, 28, 28))


REALS = (
    Real("anime64_dcgan_mit.pt", anime(), (128,), unit=True, layout=ANIME_LAYOUT),
    Real("celeba32_dcgan_apache2.pt", celeba(), (100, 1, 1), layout=CELEBA_LAYOUT),
    Real("mnist28_wgangp_mit.pt", wgan_gp(), (64, 1, 1)),
    Real("mnist28_vae_mit.pth", decoder(), (20,), unit=True),
)


@pytest.mark.parametrize("real", REALS, ids=lambda real: real.file)
def test_real_generators_make_the_images_of_plain_layers(
    real: Real, shared: Path, tmp_path: Path
) -> None:
    path = shared / "real" / "generators" / real.file
    state = open_document(path).root
    tensors = [tensor for key, tensor in state.items() if not key.startswith(("fc1", "fc2"))]
    tensors = [tensor for tensor in tensors if tensor.dim()]
    names = [key for key, tensor in real.network.state_dict().items() if tensor.dim()]
    real.network.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)
    (tmp_path / "layout.json").write_text(real.layout or "")
    generator = load_generator(path, layout=tmp_path / "layout.json" if real.layout else None)
    z = sample_z(generator, 8, seed=0)
    expected = rendered(real.network.eval(), z.view(8, *real.shape))
    expected = expected * 2 - 1 if real.unit else expected
    assert largest_difference(generator.synthesize(z), expected) < 1e-5

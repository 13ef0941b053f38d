"""DCGAN-type networks of others: reference cases, and real weights."""

from pathlib import Path
from typing import NamedTuple

import pytest
from torch import nn

from ni_core.checkpoints import load_generator
from ni_core.checkpoints.document import open_document
from ni_core.errors import CheckpointError
from ni_core.generators import sample_z
from tests.ni_core.checkpoints.cases import OPEN, Case, largest_difference
from tests.ni_core.checkpoints.real_layouts import ANIME, CELEBA
from tests.ni_core.checkpoints.stacks import Crop, View, norm, rendered

ABSENT = pytest.mark.skipif(
    not (OPEN / "csinva_dcgan").is_dir(), reason="the reference cases are not on this machine"
)


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
    Real("anime64_dcgan_mit.pt", anime(), (128,), unit=True, layout=ANIME),
    Real("celeba32_dcgan_apache2.pt", celeba(), (100, 1, 1), layout=CELEBA),
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

"""StyleGAN2 files of genforce and SeFa: reference cases, and small ones made here."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import load_generator, read_generator
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.genforce_stylegan2 import READERS
from ni_core.errors import CheckpointError
from ni_core.generators.stylegan2 import StyleGAN2Config
from tests.ni_core.checkpoints.cases import ABSENT, Case, cases, largest_difference, real_size
from tests.ni_core.generators.textbook import Textbook

SMALL = StyleGAN2Config(16, z_dim=8, w_dim=6, mapping_layers=3, channels=(6, 5, 4), mapping_width=7)


@pytest.mark.parametrize("case", cases("genforce/stylegan2"))
def test_reference_latents_and_pictures_are_reproduced(case: Case, tmp_path: Path) -> None:
    stored, io = case.folder / "checkpoint.pth", case.io
    if not stored.exists():
        stored = tmp_path / "checkpoint.pth"
        torch.save({"generator_smooth": case.tensors()}, stored)
    generator = load_generator(stored)
    assert generator.resolution == case.meta["constructor"]["resolution"]
    assert largest_difference(generator.map(io["z"]), io["w"]) < 1e-5
    assert torch.equal(generator.w_avg, io["w_avg"])
    for psi, layers in ((0.7, 8), (0.5, 3)):
        w_plus = generator.broadcast(io["w"], psi, cutoff=layers)
        assert largest_difference(w_plus, io[f"wp_psi{psi}_layers{layers}"]) < 1e-5
    pictures = {
        "img_const": "wp",
        "img_forward_default": "wp",
        "img_const_psi0.7_layers8": "wp_psi0.7_layers8",
        "img_const_wp_free": "wp_free",
    }
    for picture, latent in pictures.items():
        rendered = generator.synthesize(io[latent])
        assert largest_difference(rendered, io[picture]) < 1e-4, picture


def foreign_tensors(seed: int = 0) -> dict[str, Tensor]:
    """Random weights in this layout."""
    source = torch.Generator().manual_seed(seed)

    def random(*shape: int, mean: float = 0.0, scale: float = 1.0) -> Tensor:
        return mean + scale * torch.randn(*shape, generator=source)

    def convolution(name: str, inputs: int, outputs: int, side: int) -> dict[str, Tensor]:
        return {
            f"{name}.weight": random(outputs, inputs, side, side),
            f"{name}.bias": random(outputs, scale=0.3),
            f"{name}.style.weight": random(inputs, SMALL.w_dim),
            f"{name}.style.bias": random(inputs, scale=0.1),
        }

    taps = torch.tensor(SMALL.filter)
    kernel = (torch.outer(taps, taps) / 16)[None, None]
    tensors = {
        "truncation.w_avg": random(SMALL.w_dim),
        "synthesis.early_layer.const": random(1, SMALL.channels[0], 4, 4),
        "synthesis.upsample.kernel": kernel,
    }
    widths = [8, 7, 7, 6]
    for index in range(3):
        tensors[f"mapping.dense{index}.weight"] = random(*widths[index : index + 2][::-1]) * 100
        tensors[f"mapping.dense{index}.bias"] = random(widths[index + 1], scale=10.0)
    for index in range(2 * len(SMALL.channels) - 1):
        name, side = f"synthesis.layer{index}", 4 << (index + 1) // 2
        inputs, outputs = SMALL.channels[index // 2], SMALL.channels[(index + 1) // 2]
        tensors |= convolution(name, inputs, outputs, 3)
        tensors[f"{name}.noise_strength"] = torch.tensor(0.2)
        tensors[f"{name}.noise"] = random(1, 1, side, side)
        if index % 2:
            tensors[f"{name}.filter.kernel"] = kernel
    for index, inputs in enumerate(SMALL.channels):
        tensors |= convolution(f"synthesis.output{index}", inputs, 3, 1)
    return tensors


def textbook(theirs: dict[str, Tensor]) -> Textbook:
    """The formulas on a file's tensors, with the gains and the orientation of its own code."""
    ours = {"constant": theirs["synthesis.early_layer.const"]}
    for index in range(SMALL.mapping_layers):
        weight = theirs[f"mapping.dense{index}.weight"]
        ours[f"mapping.layers.{index}.weight"] = weight * (0.01 / math.sqrt(weight.shape[1]))
        ours[f"mapping.layers.{index}.bias"] = theirs[f"mapping.dense{index}.bias"] * 0.01
    for kind, name, number in (("layers", "layer", 5), ("to_rgbs", "output", 3)):
        for index in range(number):
            prefix, source = f"{kind}.{index}", f"synthesis.{name}{index}"
            weight = theirs[f"{source}.weight"] / math.sqrt(theirs[f"{source}.weight"][0].numel())
            doubles = kind == "layers" and index % 2
            ours[f"{prefix}.conv.weight"] = weight.flip(2, 3) if doubles else weight
            ours[f"{prefix}.conv.affine.weight"] = theirs[f"{source}.style.weight"] / math.sqrt(6)
            ours[f"{prefix}.conv.affine.bias"] = theirs[f"{source}.style.bias"] + 1
            ours[f"{prefix}.bias"] = theirs[f"{source}.bias"]
            if kind == "layers":
                ours[f"{prefix}.noise_strength"] = theirs[f"{source}.noise_strength"]
                ours[f"{prefix}.noise"] = theirs[f"{source}.noise"][0, 0]
    return Textbook(SMALL, ours)


def published(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {"generator": foreign_tensors(9), "generator_smooth": tensors}


def trained(tensors: dict[str, Tensor]) -> dict[str, Any]:
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    return {
        "models": {**published(tensors), "discriminator": {"input0.weight": torch.zeros(3)}},
        "running_metadata": {"iter": 5, "seen_img": 320},
        "optimizers": {"generator": optimizer},
    }


def without_average(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {"generator": tensors}


def bare(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return dict(tensors)


@pytest.mark.parametrize("layout", [published, trained, without_average, bare])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_layout_gives_the_textbook_picture(
    layout: Callable[[dict[str, Tensor]], dict[str, Any]], zipped: bool, tmp_path: Path
) -> None:
    tensors = foreign_tensors()
    torch.save(layout(tensors), tmp_path / "any", _use_new_zipfile_serialization=zipped)
    generator = load_generator(tmp_path / "any")
    reference = textbook(tensors)
    z = torch.randn(2, 8)
    w_plus = torch.randn(2, generator.num_layers, generator.w_dim)
    torch.testing.assert_close(generator.map(z), reference.map(z), atol=1e-5, rtol=1e-5)
    assert torch.equal(generator.w_avg, tensors["truncation.w_avg"])
    rendered, theirs = generator.synthesize(w_plus), reference.synthesize(w_plus)
    torch.testing.assert_close(rendered, theirs, atol=1e-5 * float(theirs.std()), rtol=0)


def read(tensors: dict[str, Tensor], folder: Path) -> Any:
    torch.save(published(tensors), folder / "g.pth")
    return read_generator(folder / "g.pth")


def test_absent_mean_and_noise_are_replaced_and_noted(tmp_path: Path) -> None:
    tensors = foreign_tensors()
    del tensors["truncation.w_avg"]
    for index in range(5):
        del tensors[f"synthesis.layer{index}.noise"]
    checkpoint = read(tensors, tmp_path)
    w = checkpoint.build().map(torch.randn(20_000, 8))
    assert largest_difference(checkpoint.tensors["w_avg"], w.mean(dim=0)) < 0.05 * float(w.std())
    assert len(checkpoint.notes) == 2


def test_missing_and_left_over_keys_are_named(tmp_path: Path) -> None:
    tensors = foreign_tensors()
    del tensors["synthesis.layer3.bias"]
    tensors["surprise.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        read(tensors, tmp_path)
    assert "synthesis.layer3.bias" in str(caught.value)
    assert "surprise.weight" in str(caught.value)


@ABSENT
def test_the_keys_of_a_published_file_are_accepted() -> None:
    shapes = real_size("genforce_stylegan2_ffhq1024")["tensors"]
    tensors = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernel = torch.outer(taps, taps)[None, None]
    tensors |= {key: kernel for key in tensors if key.endswith(".kernel")}
    document = Document(path=Path("g.pth"), kind="torch", root={"generator_smooth": tensors})
    (reader,) = READERS
    assert reader.matches(document)
    assert reader.generator is not None
    config = reader.generator(document).config
    widths = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert config == StyleGAN2Config(1024, 512, 512, 8, widths)

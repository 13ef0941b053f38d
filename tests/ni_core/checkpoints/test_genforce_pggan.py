"""PGGAN files of genforce and SeFa: the reference case, and small ones made here."""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ni_core.checkpoints import load_generator, read_generator
from ni_core.errors import CheckpointError
from ni_core.generators.pggan import PGGANConfig
from tests.ni_core.checkpoints.cases import (
    ABSENT,
    Case,
    cases,
    largest_difference,
    recognised_config,
)
from tests.ni_core.checkpoints.stylegan1_layouts import doubled, transposed
from tests.ni_core.checkpoints.test_reference_sefa import arrays_of, assert_same_factors

CHANNELS = (6, 5, 5, 3)


def reference(case: Case, folder: Path) -> Path:
    stored = case.folder / "checkpoint.pth"
    if not stored.exists():
        stored = folder / "checkpoint.pth"
        torch.save({"generator_smooth": case.tensors()}, stored)
    return stored


@pytest.mark.parametrize("case", cases("genforce/pggan"))
def test_reference_pictures_are_reproduced(case: Case, tmp_path: Path) -> None:
    generator = load_generator(reference(case, tmp_path))
    assert generator.resolution == case.meta["constructor"]["resolution"]
    assert generator.spaces == {"z"}
    picture = generator.synthesize(case.io["z"])
    assert largest_difference(picture, case.io["img"]) < 1e-4
    assert largest_difference(generator.synthesize(case.io["z_normalized"]), picture) < 1e-5


@pytest.mark.parametrize("case", cases("genforce/pggan"))
def test_factors_and_edits_of_sefa_are_reproduced(case: Case, tmp_path: Path) -> None:
    generator = load_generator(reference(case, tmp_path))
    sefa = arrays_of(case.folder / "sefa.npz")
    ours = assert_same_factors(
        generator.style_weights(()), sefa["all|boundaries"], sefa["all|eigen_values"]
    )
    edits = [(index, distance) for index in (0, 1, 4) for distance in (-3.0, 1.5)]
    for (index, distance), picture in zip(edits, sefa["all|edit_imgs_item0"], strict=True):
        edited = case.io["z_normalized"][:1] + ours[index] * distance
        assert largest_difference(generator.synthesize(edited)[0], picture) < 1e-4


def foreign_tensors(*, fused: bool = False, lod: float = 0.0) -> dict[str, Tensor]:
    """Random weights in this layout."""
    source = torch.Generator().manual_seed(3)

    def random(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(*shape, generator=source)

    tensors = {"lod": torch.tensor(lod), "layer0.weight": random(CHANNELS[0], 7, 4, 4)}
    for index in range(2 * len(CHANNELS)):
        inputs, outputs = CHANNELS[(index - 1) // 2], CHANNELS[index // 2]
        axes = (inputs, outputs) if fused and index % 2 == 0 else (outputs, inputs)
        tensors.setdefault(f"layer{index}.weight", random(*axes, 3, 3))
        tensors[f"layer{index}.bias"] = random(outputs, scale=0.3)
    for block, width in enumerate(CHANNELS):
        tensors[f"output{block}.weight"] = random(3, width, 1, 1)
        tensors[f"output{block}.bias"] = random(3, scale=0.2)
    return tensors


def textbook(
    foreign: Mapping[str, Tensor], z: Tensor, *, fused: bool, blocks: int, share: float
) -> Tensor:
    """The network step by step, in double precision."""
    tensors = {key: tensor.double() for key, tensor in foreign.items()}
    x, rgbs = z.double()[:, :, None, None], []
    for index in range(2 * blocks):
        weight, bias = tensors[f"layer{index}.weight"], tensors[f"layer{index}.bias"]
        x = normalized(x)
        if index and index % 2 == 0 and fused:
            x = transposed(x, weight)
        else:
            x = doubled(x) if index and index % 2 == 0 else x
            gain = math.sqrt(2 / (weight.shape[1] * weight.shape[2] ** 2))
            x = F.conv2d(x, weight * gain, padding=1 if index else 3)
        x = F.leaky_relu(x + bias[:, None, None], 0.2)
        if index % 2:
            output = tensors[f"output{index // 2}.weight"] / math.sqrt(x.shape[1])
            rgbs.append(F.conv2d(normalized(x), output, tensors[f"output{index // 2}.bias"]))
    previous = doubled(rgbs[-2]) if share else torch.zeros(())
    return (1 - share) * rgbs[-1] + share * previous


def normalized(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


@pytest.mark.parametrize("fused", [False, True], ids=["nearest", "fused"])
@pytest.mark.parametrize(
    ("lod", "blocks", "share"), [(0.0, 4, 0.0), (0.25, 4, 0.25), (1.0, 3, 0.0), (1.5, 3, 0.5)]
)
def test_small_files_follow_the_textbook(
    fused: bool, lod: float, blocks: int, share: float, tmp_path: Path
) -> None:
    tensors = foreign_tensors(fused=fused, lod=lod)
    torch.save(tensors, tmp_path / "bare.pth")
    generator = load_generator(tmp_path / "bare.pth")
    assert generator.resolution == 2 << blocks
    z = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    theirs = textbook(tensors, z, fused=fused, blocks=blocks, share=share)
    assert largest_difference(generator.synthesize(z).double(), theirs) < 1e-4


def test_a_partly_grown_file_is_noted(tmp_path: Path) -> None:
    torch.save({"models": {"generator": foreign_tensors(lod=1.0)}}, tmp_path / "runner.pth")
    checkpoint = read_generator(tmp_path / "runner.pth")
    assert checkpoint.config == PGGANConfig(16, z_dim=7, channels=CHANNELS[:3])
    assert checkpoint.notes == ("grown to 16 px of the 32 px it has room for",)


@pytest.mark.parametrize("lod", [-1.0, 4.0, math.nan])
def test_an_impossible_level_of_detail_is_refused(lod: float, tmp_path: Path) -> None:
    torch.save(foreign_tensors(lod=lod), tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="not from 0 to 3"):
        read_generator(tmp_path / "bare.pth")


def test_missing_and_additional_tensors_are_named(tmp_path: Path) -> None:
    tensors = foreign_tensors() | {"additional": torch.zeros(1)}
    del tensors["layer5.bias"]
    torch.save(tensors, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match=r"missing: layer5\.bias.*left over: additional"):
        read_generator(tmp_path / "bare.pth")


@ABSENT
def test_the_file_of_real_size_is_recognised_by_one_reader() -> None:
    config = recognised_config("genforce_pggan_celebahq1024")
    assert isinstance(config, PGGANConfig)
    assert (config.resolution, config.z_dim) == (1024, 512)
    assert [inputs / outputs for inputs, outputs in pairwise(config.channels)] == [1.0] * 3 + [
        2.0
    ] * 5

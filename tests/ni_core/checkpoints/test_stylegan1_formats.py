"""Ports of the first StyleGAN: small files made here in every layout, against a textbook."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import load_generator, read_generator
from ni_core.errors import CheckpointError
from ni_core.generators.stylegan1 import StyleGAN1Config
from tests.ni_core.checkpoints.cases import largest_difference, saved
from tests.ni_core.checkpoints.stylegan1_layouts import (
    GENFORCE,
    IDINVERT,
    LAYOUTS,
    LERNAPPARAT,
    ROSINALITY,
    Layout,
    Textbook,
    random_file,
)

WIDE = (5, 6, 4, 5, 4, 3)
"""Channels up to 128 px, from where on upsampling is a transposed convolution."""


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_small_files_follow_the_textbook(layout: Layout, tmp_path: Path) -> None:
    """In double precision, so that the processor's rounding does not decide."""
    tensors = random_file(layout, WIDE)
    generator = load_generator(saved(tensors, tmp_path)).double()
    assert generator.resolution == 128
    assert generator.num_layers == layout.rows * len(WIDE)
    textbook = Textbook(layout, tensors)
    source = torch.Generator().manual_seed(1)
    z = normal(source, 3, generator.z_dim)
    assert largest_difference(generator.map(z).flatten(1), textbook.map(z)) < 1e-5
    w_plus = normal(source, 3, generator.num_layers, 5)
    maps = [normal(source, 3, 1, *shape) for shape in generator.noise_shapes]
    theirs = textbook.synthesize(w_plus, maps, blocks=len(WIDE))
    assert largest_difference(generator.synthesize(w_plus, maps), theirs) < 1e-4
    stored = [tensors[key][0] for key in map_keys(layout) if key in tensors]
    if stored:
        theirs = textbook.synthesize(w_plus, stored, blocks=len(WIDE))
        assert largest_difference(generator.synthesize(w_plus), theirs) < 1e-4


def normal(source: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def map_keys(layout: Layout) -> list[str]:
    return [layout.layer(index).noise for index in range(2 * len(WIDE))]


WRAPPERS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda tensors: tensors,
    "published": lambda tensors: {"generator": blank(tensors), "generator_smooth": tensors},
    "unsmoothed": lambda tensors: {"generator": tensors, "discriminator": {"a": torch.ones(1)}},
    "runner": lambda tensors: {
        "models": {"generator": blank(tensors), "generator_smooth": tensors},
        "optimizers": {"generator": {"state": {}, "param_groups": []}},
        "running_metadata": {"iter": 1},
    },
}


def blank(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_genforce_files_are_read_in_every_wrapping(
    wrapper: str, zipped: bool, tmp_path: Path
) -> None:
    tensors = random_file(GENFORCE, (4, 3))
    path = saved(WRAPPERS[wrapper](tensors), tmp_path, _use_new_zipfile_serialization=zipped)
    checkpoint = read_generator(path)
    assert checkpoint.format == "genforce-stylegan1"
    assert torch.equal(checkpoint.tensors["constant"], tensors["synthesis.layer0.const"])
    assert checkpoint.config == StyleGAN1Config(
        8, z_dim=6, w_dim=5, mapping_layers=3, mapping_width=7, channels=(4, 3)
    )


@pytest.mark.parametrize(
    ("lod", "blocks", "share"), [(1.0, 3, 0.0), (0.25, 4, 0.25), (2.5, 2, 0.5)]
)
def test_a_level_of_detail_leaves_resolutions_out(
    lod: float, blocks: int, share: float, tmp_path: Path
) -> None:
    tensors = random_file(GENFORCE, (5, 4, 3, 3))
    tensors["synthesis.lod"] = torch.tensor(lod)
    checkpoint = read_generator(saved(tensors, tmp_path))
    generator = checkpoint.build().double()
    assert generator.resolution == 2 << blocks
    assert bool(checkpoint.notes) == (blocks < 4)
    source = torch.Generator().manual_seed(4)
    w_plus = normal(source, 2, generator.num_layers, 5)
    maps = [normal(source, 1, 1, *shape) for shape in generator.noise_shapes]
    theirs = Textbook(GENFORCE, tensors).synthesize(w_plus, maps, blocks, share)
    assert largest_difference(generator.synthesize(w_plus, maps), theirs) < 1e-4


def test_truncation_of_idinvert_files_is_noted_but_not_applied(tmp_path: Path) -> None:
    tensors = random_file(IDINVERT, (5, 4, 3, 3, 3))
    checkpoint = read_generator(saved(tensors, tmp_path))
    assert checkpoint.notes == (
        "the file's own truncation, psi by row [0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 1.0, 1.0], "
        "is not applied",
    )


def test_idinvert_files_with_one_w_for_all_rows_have_no_tanh(tmp_path: Path) -> None:
    tensors = random_file(IDINVERT, (4, 3))
    for key in ("mapping.dense2.fc.weight", "mapping.dense2.wscale.bias"):
        tensors[key] = tensors[key][:5].clone()
    checkpoint = read_generator(saved(tensors, tmp_path))
    assert isinstance(checkpoint.config, StyleGAN1Config)
    assert checkpoint.config.spaces == {"z", "w", "w+"}
    assert not checkpoint.config.tanh
    assert any("tanh" in note for note in checkpoint.notes)


def test_idinvert_files_that_are_not_fully_grown_are_refused(tmp_path: Path) -> None:
    tensors = random_file(IDINVERT, (5, 4, 3)) | {"synthesis.lod": torch.tensor(1.5)}
    with pytest.raises(CheckpointError, match=r"level of detail 1\.5 is not 0"):
        read_generator(saved(tensors, tmp_path))


def test_rosinality_files_give_the_largest_trained_resolution(tmp_path: Path) -> None:
    tensors = random_file(ROSINALITY, (5, 4, 3, 3))
    path = saved({"generator": blank(tensors), "g_running": tensors}, tmp_path)
    assert load_generator(path).resolution == 32
    for key, tensor in tensors.items():
        if ("progression.3" in key or "to_rgb.3" in key) and key.endswith("conv.bias"):
            tensor.zero_()
    path = saved({"generator": blank(tensors), "g_running": tensors}, tmp_path)
    assert load_generator(path).resolution == 16
    assert load_generator(path, resolution=32).resolution == 32
    assert load_generator(path, resolution=4).resolution == 4
    with pytest.raises(CheckpointError, match=r"resolution 64 .* from 4 to 32"):
        load_generator(path, resolution=64)


def test_rosinality_files_without_any_bias_give_all_resolutions(tmp_path: Path) -> None:
    tensors = random_file(ROSINALITY, (5, 4, 3))
    assert load_generator(saved(blank(tensors), tmp_path)).resolution == 16


def test_rosinality_files_without_transposed_convolutions_are_read(tmp_path: Path) -> None:
    tensors = random_file(ROSINALITY, WIDE)
    grown = "generator.progression.5.conv1"
    weight = tensors.pop(f"{grown}.0.weight").transpose(0, 1).contiguous()
    tensors |= {
        f"{grown}.1.conv.weight_orig": weight,
        f"{grown}.1.conv.bias": tensors.pop(f"{grown}.0.bias"),
        f"{grown}.2.weight": tensors[f"{grown}.1.weight"],
        f"{grown}.2.weight_flip": tensors.pop(f"{grown}.1.weight_flip"),
    }
    del tensors[f"{grown}.1.weight"]
    assert load_generator(saved(tensors, tmp_path)).resolution == 128


def test_the_resolution_of_other_files_is_checked(tmp_path: Path) -> None:
    path = saved(random_file(GENFORCE, (4, 3)), tmp_path)
    assert load_generator(path, resolution=8).resolution == 8
    with pytest.raises(CheckpointError, match="8 px, not 16"):
        load_generator(path, resolution=16)


def test_a_mean_that_the_file_lacks_is_estimated_and_noted(tmp_path: Path) -> None:
    tensors = random_file(LERNAPPARAT, (4, 3))
    generator = load_generator(saved(tensors, tmp_path))
    assert torch.equal(generator.w_avg, tensors.pop("truncation.avg_latent"))
    checkpoint = read_generator(saved(tensors, tmp_path))
    generator = checkpoint.build()
    z = torch.randn(10_000, 6, generator=torch.Generator().manual_seed(9))
    assert largest_difference(generator.w_avg, generator.map(z).mean(dim=0)) < 0.05
    assert any("mean" in note for note in checkpoint.notes)
    assert any("noise" in note for note in checkpoint.notes)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_missing_additional_and_misshapen_tensors_are_named(layout: Layout, tmp_path: Path) -> None:
    tensors = random_file(layout, (5, 4, 3))
    keys = layout.layer(3)
    tensors["additional"] = torch.zeros(1)
    del tensors[keys.strength]
    tensors[keys.style[1]] = torch.zeros(2)
    tensors[keys.weight] = torch.zeros(3)
    with pytest.raises(CheckpointError) as caught:
        read_generator(saved(tensors, tmp_path))
    for key in ("additional", keys.strength, keys.style[1], keys.weight):
        assert key in str(caught.value)

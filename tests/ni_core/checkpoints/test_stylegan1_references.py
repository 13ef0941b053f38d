"""Ports of the first StyleGAN: reference cases, and files of real size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import load_generator
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.rosinality_stylegan1 import read_rosinality_stylegan1
from ni_core.generators import Generator
from ni_core.generators.stylegan1 import StyleGAN1Config
from tests.ni_core.checkpoints.cases import (
    ABSENT,
    Case,
    cases,
    largest_difference,
    recognised_config,
    saved,
)


def reference(case: Case, folder: Path, name: str, **options: Any) -> Generator:
    """Load the stored file of a case, or one written by its recipe."""
    stored = case.folder / name
    manifest = "manifest_generator.json" if name.startswith("styleganinv") else "manifest.json"
    path = stored if stored.exists() else saved(case.tensors(manifest), folder)
    return load_generator(path, **options)


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], limit: float) -> None:
    differences = {name: largest_difference(found, theirs[name]) for name, found in ours.items()}
    assert max(differences.values()) < limit, differences


@pytest.mark.parametrize("case", cases("genforce/stylegan_"))
def test_genforce_latents_and_pictures_are_reproduced(case: Case, tmp_path: Path) -> None:
    generator, io = reference(case, tmp_path, "checkpoint.pth"), case.io
    assert generator.resolution == case.meta["constructor"]["resolution"]
    assert torch.equal(generator.w_avg, io["w_avg"])
    w = generator.map(io["z"])
    truncated = {"0.7": generator.broadcast(w, 0.7, 8), "0.5": generator.broadcast(w, 0.5, 3)}
    latents = {
        "w": w,
        "wp": generator.broadcast(w),
        "wp_psi0.7_layers8": truncated["0.7"],
        "wp_psi0.5_layers3": truncated["0.5"],
    }
    assert_same(latents, io, 1e-5)
    pictures = {
        "img_const": generator.synthesize(io["wp"]),
        "img_const_psi0.7_layers8": generator.synthesize(truncated["0.7"]),
        "img_forward_default": generator.synthesize(generator.broadcast(w)),
        "img_const_wp_free": generator.synthesize(io["wp_free"]),
    }
    assert_same(pictures, io, 1e-4)


@pytest.mark.parametrize("case", cases("lernapparat_stylegan1"))
def test_lernapparat_latents_and_pictures_are_reproduced(case: Case, tmp_path: Path) -> None:
    generator, io = reference(case, tmp_path, "checkpoint.pt"), case.io
    rows = generator.num_layers
    maps = [io[f"noise_{row}"] for row in range(rows)]
    assert_same({"w": generator.map(io["z"])}, io, 1e-5)
    pictures = {
        "img_zero_noise": generator.synthesize(io["wplus18"][:, :rows], "none"),
        "img_noise": generator.synthesize(generator.broadcast(io["w"]), maps),
        "img_noise_free": generator.synthesize(io["wplus_free"][:, :rows], maps),
    }
    assert_same(pictures, io, 1e-4)


@pytest.mark.parametrize("case", cases("idinvert"))
def test_idinvert_latents_and_pictures_are_reproduced(case: Case, tmp_path: Path) -> None:
    generator, io = reference(case, tmp_path, "styleganinv_generator.pth"), case.io
    assert generator.spaces == {"z", "w+"}
    w_plus = generator.map(io["z"])
    truncated = generator.broadcast(w_plus, 0.7, cutoff=8)
    latents = {"mapping_out": w_plus.flatten(1), "wp_truncated": truncated}
    assert_same(latents, io, 1e-5)
    pictures = {
        "img": generator.synthesize(truncated),
        "img_from_codes": generator.synthesize(io["encoder_codes"]),
    }
    assert_same(pictures, io, 1e-4)


@pytest.mark.parametrize("case", cases("rosinality_stylegan1"))
def test_rosinality_latents_and_pictures_are_reproduced(case: Case) -> None:
    document, io = Document(Path("case.model"), "torch", case.tensors()), case.io
    side = case.meta["resolution"]
    generator = read_rosinality_stylegan1(document, resolution=side).build()
    maps = [io[f"noise_{row}"] for row in range(generator.num_layers)]
    assert_same({"w": generator.map(io["z"]), "w2": generator.map(io["z2"])}, io, 1e-5)
    assert largest_difference(generator.w_avg[None], io["mean_style"]) < 0.1
    generator.w_avg.copy_(io["mean_style"][0])
    w_plus, mixed = (generator.broadcast(io[key]).clone() for key in ("w", "w2"))
    mixed[:, 2:] = w_plus[:, 2:]
    pictures = {
        "img_zero_noise": generator.synthesize(w_plus, "none"),
        "img_noise": generator.synthesize(w_plus, maps),
        "img_noise_style_weight0.7": generator.synthesize(generator.broadcast(io["w"], 0.7), maps),
        "img_noise_mixing_range0_1": generator.synthesize(mixed, maps),
    }
    small = read_rosinality_stylegan1(document, resolution=8).build()
    pictures["img_step1_zero_noise"] = small.synthesize(small.broadcast(io["w"]), "none")
    for name in [key for key in io if key.startswith("img_noise_alpha")]:
        alpha = float(name.removeprefix("img_noise_alpha"))
        fading = read_rosinality_stylegan1(document, resolution=side, alpha=alpha).build()
        pictures[name] = fading.synthesize(w_plus, maps)
    assert_same(pictures, io, 1e-4)


@ABSENT
@pytest.mark.parametrize(
    ("name", "resolution", "rows"),
    [
        ("genforce_stylegan_cat256", 256, 14),
        ("genforce_stylegan_ffhq1024", 1024, 18),
        ("idinvert_ffhq256_generator", 256, 14),
        ("lernapparat_stylegan1_1024", 1024, 18),
        ("rosinality_stylegan1_g_running", 1024, 9),
    ],
)
def test_files_of_real_size_are_recognised_by_one_reader(
    name: str, resolution: int, rows: int
) -> None:
    config = recognised_config(name)
    assert isinstance(config, StyleGAN1Config)
    assert (config.resolution, config.num_layers) == (resolution, rows)
    assert (config.z_dim, config.w_dim, config.mapping_layers) == (512, 512, 8)
    widths = (512, 512, 512, 512, 256, 128, 64, 32, 16)
    assert config.channels == widths[: len(config.channels)]

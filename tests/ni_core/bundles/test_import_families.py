"""Imports of every kind of generator, and of encoders."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ni_core.bundles import load_bundle, read_manifest, write_tiny_bundle
from ni_core.bundles.importer import Sources, import_bundle
from ni_core.bundles.verification import contact_sheet
from ni_core.encoders.psp import Psp, PspConfig
from ni_core.errors import GeneratorMismatchError
from tests.bundles import CONDITIONAL, ROW_MAPPING, Z_ONLY, change_manifest, write_bundle

FITTING = PspConfig(
    6, 32, widths=(4, 6, 8, 10), units=(1, 1, 1, 1), reduction=2, input_shape=(32, 32)
)


def add_encoder(folder: Path, config: PspConfig) -> Path:
    """Give a bundle an encoder with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tensors = {key: value.contiguous() for key, value in Psp(config).state_dict().items()}
    save_file(tensors, folder / "encoder.safetensors")
    fields = dataclasses.asdict(config)
    part = {"file": "encoder.safetensors", "family": Psp.family, "config": fields}
    change_manifest(folder, encoders={"psp": part})
    return folder


@pytest.mark.parametrize(
    ("family", "config"),
    [("pggan", Z_ONLY), ("stylegan2", CONDITIONAL), ("stylegan1", ROW_MAPPING)],
    ids=["z only", "conditional", "w by row"],
)
def test_generators_without_w_with_classes_and_with_rows_are_imported(
    tmp_path: Path, family: str, config: Any
) -> None:
    source = write_bundle(tmp_path, "source", family, config)
    imported = import_bundle("cats", Sources(source), directory=tmp_path / "models")
    bundle = load_bundle(imported.folder)
    assert bundle.generator.spaces == config.spaces
    assert ("w_avg_shift" in imported.check.figures) == ("w+" in config.spaces)
    assert contact_sheet(bundle).isfinite().all()


def test_an_encoder_brings_the_generator_beside_it(tmp_path: Path) -> None:
    source = add_encoder(write_tiny_bundle(tmp_path, "source"), FITTING)
    imported = import_bundle("cats", Sources(encoder=source), directory=tmp_path / "models")
    bundle, original = load_bundle(imported.folder), load_bundle(source)
    encoder, first = bundle.encoders["psp"], original.encoders["psp"]
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(encoder.encode(pictures), first.encode(pictures))
    assert {"psp_psnr_db", "mean_picture_psnr_db"} <= imported.check.figures.keys()
    assert "psp" in read_manifest(imported.folder).source["parts"]


def test_an_encoder_that_does_worse_than_the_mean_picture_is_a_warning(tmp_path: Path) -> None:
    source = add_encoder(write_tiny_bundle(tmp_path, "source"), FITTING)
    check = import_bundle("cats", Sources(encoder=source), directory=tmp_path / "models").check
    assert any("another generator" in warning for warning in check.warnings)


def test_a_generator_of_its_own_takes_the_place_of_the_encoders(tmp_path: Path) -> None:
    encoder = add_encoder(write_tiny_bundle(tmp_path, "encoder"), FITTING)
    generator = write_tiny_bundle(tmp_path, "generator", seed=3)
    sources = Sources(generator, encoder)
    imported = import_bundle("cats", sources, directory=tmp_path / "models")
    assert "the generator in the encoder's file is left out" in imported.notes
    found = load_bundle(imported.folder).generator
    assert torch.equal(found.w_avg, load_bundle(generator).generator.w_avg)


def test_an_encoder_of_other_rows_is_refused_with_both_shapes(tmp_path: Path) -> None:
    config = dataclasses.replace(FITTING, num_layers=8)
    source = add_encoder(write_tiny_bundle(tmp_path, "source"), config)
    with pytest.raises(GeneratorMismatchError, match=r"\[8, 32\].*\[6, 32\]"):
        import_bundle("cats", Sources(encoder=source), directory=tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_an_encoder_for_a_generator_without_w_is_refused(tmp_path: Path) -> None:
    encoder = add_encoder(write_tiny_bundle(tmp_path, "encoder"), FITTING)
    generator = write_bundle(tmp_path, "generator", "pggan", Z_ONLY)
    with pytest.raises(GeneratorMismatchError, match=r"\[6, 32\].*\[0, 0\]"):
        import_bundle("cats", Sources(generator, encoder), directory=tmp_path / "models")

"""Parts that a training made are added to a model, whole or not at all."""

import json
from pathlib import Path

import pytest
import torch

from ni_core import invert
from ni_core.bundles import EMBEDDED, load_bundle, read_manifest, write_tiny_bundle
from ni_core.bundles.importer import Sources, import_bundle
from ni_core.bundles.parts import attach, find_parts
from ni_core.bundles.verification import check_files
from ni_core.encoders.frozen import FeaturesConfig, FrozenFeatures
from ni_core.encoders.psp import Psp, PspConfig
from ni_core.errors import (
    BrokenBundleError,
    GeneratorMismatchError,
    InvalidInputError,
    InvalidOptionError,
    UnknownModelError,
)
from ni_core.training.runs import write_part

FITTING = PspConfig(
    6, 32, widths=(4, 6, 8, 10), units=(1, 1, 1, 1), reduction=2, input_shape=(32, 32)
)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model directory with one model, `cats`."""
    source = write_tiny_bundle(tmp_path, "source")
    import_bundle("cats", Sources(generator=source), directory=tmp_path / "models")
    return tmp_path / "models"


def trained(
    folder: Path, kind: str, generator: str | None, config: PspConfig = FITTING, seed: int = 0
) -> Path:
    """What `ni train` leaves: an encoder with random weights."""
    torch.manual_seed(seed)
    write_part(
        folder,
        kind,
        Psp(config).state_dict(),
        family="psp",
        config=config,
        generator=generator,
        training={"pictures": 8},
    )
    return folder


def test_a_part_is_added_to_a_model_and_used(models: Path, tmp_path: Path) -> None:
    fingerprint = read_manifest(models / "cats").fingerprint()
    before = read_manifest(models / "cats").version
    kinds, check = attach("cats", [trained(tmp_path, "psp", fingerprint)], directory=models)
    bundle = load_bundle(models / "cats")
    assert kinds == ["psp"] and list(bundle.encoders) == ["psp"]
    assert "psp_psnr_db" in check.figures
    assert bundle.manifest.version == before + 1
    assert bundle.manifest.training["parts"]["psp"] == {"pictures": 8}
    assert check_files(bundle.manifest) == 3


def test_a_part_of_the_same_kind_is_replaced(models: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        attach("cats", [trained(tmp_path / str(seed), "psp", None, seed=seed)], directory=models)
    weights = load_bundle(models / "cats").encoders["psp"].body.stem.weight  # type: ignore[attr-defined]
    torch.manual_seed(2)
    assert torch.equal(weights, Psp(FITTING).body.stem.weight.half().float())


def test_descents_compare_by_a_feature_network_once_the_model_has_one(
    models: Path, tmp_path: Path
) -> None:
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    steps = {"steps": 3, "starts": 1}
    before = invert(load_bundle(models / "cats"), pictures, options=steps).latents[0].tensor
    with pytest.raises(InvalidOptionError, match="no part features; make it with `ni train contra"):
        invert(load_bundle(models / "cats"), pictures, options={"features_coefficient": 1})
    torch.manual_seed(0)
    config = FeaturesConfig(side=16, widths=(4, 6))
    weights, name = FrozenFeatures(config).state_dict(), config.network
    write_part(
        tmp_path, "features", weights, family=name, config=config, generator=None, training={}
    )
    kinds, check = attach("cats", [tmp_path], directory=models)
    bundle = load_bundle(models / "cats")
    assert kinds == ["features"] and "features" in bundle.manifest.parts
    assert check.figures["features_between_samples"] > 0
    assert bundle.nbytes > load_bundle(models.parent / "source").nbytes
    after = invert(bundle, pictures, options=steps).latents[0].tensor
    without = {**steps, "features_coefficient": 0}
    as_before = invert(bundle, pictures, options=without).latents[0].tensor
    assert (after - before).abs().max() > 0.01
    torch.testing.assert_close(
        as_before, before, rtol=0, atol=1e-4
    )  # files lie elsewhere in memory


def test_several_parts_are_added_at_once(models: Path, tmp_path: Path) -> None:
    folders = [trained(tmp_path / kind, kind, None) for kind in ("psp", "e4e")]
    assert attach("cats", folders, directory=models)[0] == ["psp", "e4e"]
    assert list(load_bundle(models / "cats").encoders) == ["e4e", "psp"]


def test_a_part_for_another_generator_is_refused_with_both_names(
    models: Path, tmp_path: Path
) -> None:
    fingerprint = read_manifest(models / "cats").fingerprint()
    folder = trained(tmp_path, "psp", "0123456789abcdef")
    with pytest.raises(GeneratorMismatchError, match=f"0123456789abcdef.*{fingerprint}"):
        attach("cats", [folder], directory=models)
    assert not load_bundle(models / "cats").encoders


def test_a_part_that_does_not_run_leaves_the_model_as_it_was(models: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path, "psp", None)
    document = json.loads((folder / "psp.json").read_text())
    document["config"]["w_dim"] = 31
    (folder / "psp.json").write_text(json.dumps(document))
    with pytest.raises(BrokenBundleError, match=r"psp\.safetensors of bundle cats"):
        attach("cats", [folder], directory=models)
    assert not load_bundle(models / "cats").encoders
    assert sorted(path.name for path in models.iterdir()) == [".lock", "cats"]


def test_a_folder_without_parts_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds none of e4e"):
        attach("cats", [tmp_path], directory=models)


def test_weights_that_are_not_the_trained_ones_are_refused(tmp_path: Path) -> None:
    folder = trained(tmp_path, "psp", None)
    with (folder / "psp.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InvalidInputError, match="its SHA-256 is"):
        find_parts(folder)


def test_the_embedded_model_is_not_changed(models: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="make a copy of your own first"):
        attach("portraits", [trained(tmp_path, "psp", None)], directory=models)
    assert (EMBEDDED / "portraits").is_dir()


def test_an_unknown_model_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="dogs"):
        attach("dogs", [trained(tmp_path, "psp", None)], directory=models)

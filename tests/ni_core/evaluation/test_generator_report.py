import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ni_core.bundles import Bundle, load_bundle, write_tiny_bundle
from ni_core.evaluation.distances import RandomFeatures
from ni_core.evaluation.generator_report import compare, generate, main, unseen
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.training.picture_set import TEST_START
from ni_core.training.portraits import render, sample_factors
from ni_core.training.regressor import SqueezeNetRegressor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 32 px: the trunk has no features of smaller pictures."""
    path = write_tiny_bundle(tmp_path_factory.mktemp("bundle"))
    config = StyleGAN2Config(
        resolution=32, z_dim=8, w_dim=16, mapping_layers=2, channels=(8, 8, 8, 8), noise=False
    )
    torch.manual_seed(0)
    save_file(StyleGAN2(config).state_dict(), path / "generator.safetensors")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest |= {"resolution": 32}
    manifest["generator"]["config"] = asdict(config)
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def test_samples_repeat_and_shrink_with_truncation(bundle: Bundle) -> None:
    assert torch.equal(generate(bundle, 5, seed=1), generate(bundle, 5, seed=1))
    whole, truncated = (generate(bundle, 20, seed=1, psi=psi) for psi in (1.0, 0.2))
    assert truncated.std(dim=0).mean() < whole.std(dim=0).mean()


def test_unseen_renders_lie_beyond_every_training_set() -> None:
    pictures = unseen(2, 32, seed=1, part=1, device=torch.device("cpu"))
    assert torch.equal(pictures, render(sample_factors(1, TEST_START + 2, 2), 32))


def test_a_set_compared_with_itself_is_perfect() -> None:
    pictures = torch.rand(12, 3, 32, 32)
    figures = compare(pictures, pictures, {"random": RandomFeatures()})
    assert figures == {
        "fd_random": pytest.approx(0, abs=1e-3),
        "precision_random": 1.0,
        "recall_random": 1.0,
        "sharpness": 1.0,
    }


def test_noise_is_further_from_renders_than_renders_are() -> None:
    real, again = (unseen(24, 32, seed=1, part=i, device=torch.device("cpu")) for i in (0, 1))
    features = {"random": RandomFeatures()}
    noise = compare(real, torch.rand_like(real) * 2 - 1, features)
    renders = compare(real, again, features)
    assert noise["fd_random"] > 3 * renders["fd_random"]
    assert noise["sharpness"] > 2 > renders["sharpness"]


def test_the_command_writes_figures_and_sheets(folder: Path, tmp_path: Path) -> None:
    resolution = load_bundle(folder).generator.resolution
    reader = SqueezeNetRegressor(resolution)
    save_file(reader.state_dict(), tmp_path / "trunk.safetensors")
    arguments = ["--bundle", str(folder), "--samples", "8", "--sheets", str(tmp_path / "sheets")]
    arguments += [
        "--reader",
        str(tmp_path / "trunk.safetensors"),
        "--out",
        str(tmp_path / "r.json"),
    ]
    assert main(arguments) == 0
    figures = json.loads((tmp_path / "r.json").read_text())
    assert figures["samples"] == 8
    assert {"generated", "real_against_real", "spread"} <= figures.keys()
    sheets = {path.name for path in (tmp_path / "sheets").iterdir()}
    assert sheets == {"samples.png", "samples_psi_0.7.png", "renders.png"}

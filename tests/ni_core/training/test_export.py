import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ni_core.bundles import load_bundle
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.training import export
from ni_core.training.features import export_trunk
from ni_core.training.regressor import SqueezeNetRegressor

CONFIG = StyleGAN2Config(
    resolution=32, z_dim=8, w_dim=16, mapping_layers=2, channels=(8, 8, 8, 8), noise=False
)


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(export, "CONFIG", CONFIG)
    torch.manual_seed(0)
    run = {"seen": 320, "average": StyleGAN2(CONFIG).state_dict()}
    checkpoint = {"run": run, "limit": 64, "recipe": {"batch": 16}}
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    export_trunk(SqueezeNetRegressor(), tmp_path / "trunk_features.safetensors")
    for kind in ("critic", "trunk"):
        (tmp_path / f"{kind}.json").write_text('{"yaw": 0.9}')
    (tmp_path / "report.json").write_text('{"samples": 10}')
    arguments = ["--checkpoint", str(tmp_path / "checkpoint.pt"), "--features", str(tmp_path)]
    arguments += ["--figures", str(tmp_path / "report.json"), "--note", "hardware=a laptop"]
    assert export.main([*arguments, "--out", str(tmp_path / "bundle")]) == 0
    return tmp_path / "bundle"


def test_an_exported_bundle_loads_and_synthesizes(exported: Path) -> None:
    bundle = load_bundle(exported)
    w_plus = bundle.generator.broadcast(bundle.generator.map(torch.randn(2, CONFIG.z_dim)))
    assert bundle.generator.synthesize(w_plus, noise="none").shape == (2, 3, 32, 32)
    assert bundle.perceptual.trunk == "portraits-squeeze"


def test_weights_are_halves_and_the_average_w_is_that_of_the_mapping(exported: Path) -> None:
    stored = load_file(exported / "generator.safetensors")
    kinds = {name: value.dtype for name, value in stored.items()}
    assert kinds.pop("w_avg") == torch.float32
    assert set(kinds.values()) == {torch.float16}
    generator = load_bundle(exported).generator
    w = generator.map(torch.randn(20_000, CONFIG.z_dim))
    torch.testing.assert_close(stored["w_avg"], w.mean(dim=0), atol=0.05, rtol=0)


def test_the_manifest_says_how_it_was_trained_and_what_was_measured(exported: Path) -> None:
    document = json.loads((exported / "manifest.json").read_text())
    assert document["training"] == {
        "pictures_seen": 320,
        "pictures_in_set": 64,
        "recipe": {"batch": 16},
        "hardware": "a laptop",
    }
    assert document["figures"]["samples"] == 10
    assert document["figures"]["r2_trunk"] == {"yaw": 0.9}

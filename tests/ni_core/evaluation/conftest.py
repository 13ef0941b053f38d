"""Small bundles at 32 px, the smallest side that the trunk and the judge can look at."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ni_core.bundles import Bundle, load_bundle, write_tiny_bundle
from ni_core.bundles.manifest import NetworkPart
from ni_core.encoders.psp import Psp, PspConfig
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.landscapes import Landscape, LandscapeConfig
from ni_core.training.judge import Judge, export_judge


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle without a judge."""
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


@pytest.fixture(scope="package")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


@pytest.fixture(scope="package")
def equipped(bundle: Bundle) -> Bundle:
    """The same bundle with untrained encoders, as e4e and as mapper, and an untrained θ."""
    num_layers, w_dim = bundle.generator.num_layers, bundle.generator.w_dim
    torch.manual_seed(2)
    config = PspConfig(
        num_layers,
        w_dim,
        widths=(4, 6, 8, 10),
        units=(1, 1, 1, 1),
        reduction=2,
        input_shape=(32, 32),
    )
    encoders = {kind: Psp(config).freeze() for kind in ("e4e", "mapper")}
    landscape = Landscape(LandscapeConfig(num_layers, w_dim, dimensions=6, hidden=4)).freeze()
    landscape.basis.normal_(std=0.01)
    parts = {kind: NetworkPart(f"{kind}.safetensors", "psp", {}) for kind in encoders}
    theta = NetworkPart("landscape.safetensors", "residual", {})
    manifest = replace(bundle.manifest, encoders=parts, landscape=theta)
    return replace(bundle, encoders=encoders, landscape=landscape, manifest=manifest)


@pytest.fixture(scope="package")
def judged(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle with an untrained judge."""
    path = tmp_path_factory.mktemp("judged") / folder.name
    shutil.copytree(folder, path)
    torch.manual_seed(1)
    export_judge(Judge(32), path / "judge.safetensors")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["judge"] = {"file": "judge.safetensors", "name": "untrained"}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path

"""Small real bundles of any family, with directions of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ni_core.bundles import write_tiny_bundle
from ni_core.bundles.manifest import MANIFEST
from ni_core.checkpoints.directions import ImportedDirection, pack_directions
from ni_core.generators.families import FAMILIES
from ni_core.generators.pggan import PGGANConfig
from ni_core.generators.stylegan1 import StyleGAN1Config
from ni_core.generators.stylegan2 import StyleGAN2Config

Z_ONLY = PGGANConfig(16, z_dim=24, channels=(16, 16, 8))
CONDITIONAL = StyleGAN2Config(16, 24, 32, 2, (16, 16, 8), num_classes=3)
ROW_MAPPING = StyleGAN1Config(16, 24, 32, 2, channels=(16, 16, 8), row_mapping=True)


def write_bundle(directory: Path, name: str, family: str, config: Any, seed: int = 0) -> Path:
    """Write a bundle with random weights of a family; returns its folder."""
    folder = write_tiny_bundle(directory, name, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FAMILIES[family].network(config)
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(tensors, folder / "generator.safetensors")
    part = {"file": "generator.safetensors", "family": family, "config": asdict(config)}
    change_manifest(folder, resolution=config.resolution, generator=part)
    return folder


def add_directions(folder: Path, directions: Sequence[ImportedDirection]) -> None:
    """Give a bundle directions of its own."""
    tensors, entries = pack_directions(directions)
    save_file(tensors, folder / "directions.safetensors")
    part = {
        "file": "directions.safetensors",
        "entries": [asdict(entry) for entry in entries],
    }
    change_manifest(folder, directions=part)


def change_manifest(folder: Path, **fields: Any) -> None:
    """Set fields of a manifest."""
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def imported(name: str, vector: torch.Tensor, **fields: Any) -> ImportedDirection:
    """A direction in W for all layers, unless told otherwise."""
    known: dict[str, Any] = {"space": "w", "layers": None, "deviation": None, "source": "test"}
    return ImportedDirection(name, vector, **{**known, **fields})


def unit(dimensions: int, index: int) -> torch.Tensor:
    """A vector along one axis."""
    return torch.eye(dimensions)[index]

"""A real bundle small enough for tests and demonstrations of the file layout."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from ni_core.bundles.manifest import MANIFEST
from ni_core.generators import tiny_generator
from ni_core.generators.tiny import TINY


def write_tiny_bundle(directory: Path, name: str = "tiny", seed: int = 0) -> Path:
    """Write a 16 px bundle with random weights.

    Args:
        directory: Where to make the bundle's folder.
        name: The bundle's name.
        seed: Seed of all weights.

    Returns:
        The bundle's folder.
    """
    from torchvision.models import squeezenet1_1  # takes seconds, and only this needs it

    folder = directory / name
    folder.mkdir(parents=True)
    save_file(tiny_generator(seed).state_dict(), folder / "generator.safetensors")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = squeezenet1_1(weights=None).features.state_dict()
    halves = {f"features.{key}": tensor.half() for key, tensor in trunk.items()}
    save_file(halves, folder / "trunk.safetensors")
    manifest = {
        "name": name,
        "version": 1,
        "licence": "Apache-2.0",
        "resolution": TINY.resolution,
        "generator": {
            "file": "generator.safetensors",
            "family": "stylegan2",
            "config": asdict(TINY),
        },
        "trunk": {
            "file": "trunk.safetensors",
            "architecture": "squeezenet1_1",
            "name": "random-squeeze",
        },
        "training": {"seed": seed, "recipe": "random weights"},
        "figures": {},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    return folder

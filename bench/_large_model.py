"""A model as large as those of faces, with random weights: what counts is how long it takes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from ni_core.bundles import load_bundle, write_tiny_bundle
from ni_core.bundles.manifest import MANIFEST
from ni_core.bundles.parts import add_parts, find_parts
from ni_core.encoders.psp import Psp, PspConfig
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.training.runs import write_part

NAME = "large"
CONFIG = StyleGAN2Config(
    resolution=256,
    z_dim=512,
    w_dim=512,
    mapping_layers=8,
    channels=(512, 512, 512, 512, 256, 128, 64),
    noise=False,
)


def write_large_model(directory: Path) -> Path:
    """A StyleGAN2 of 256 px with the e4e of its paper, an IR-SE-50; returns the model's folder."""
    torch.manual_seed(0)
    folder = write_tiny_bundle(directory, NAME)
    generator = StyleGAN2(CONFIG)
    halves = {name: value.half().contiguous() for name, value in generator.state_dict().items()}
    save_file(halves, folder / "generator.safetensors")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["resolution"] = CONFIG.resolution
    manifest["generator"]["config"] = asdict(CONFIG)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    write_encoder(folder, directory.parent / "parts")
    return folder


def write_encoder(folder: Path, work: Path) -> None:
    generator = load_bundle(folder).generator
    encoder = Psp(PspConfig(num_layers=generator.num_layers, progressive=True))
    write_part(
        work,
        "e4e",
        encoder.state_dict(),
        family=encoder.family,
        config=encoder.config,
        generator=generator.fingerprint,
        training={"recipe": "random weights"},
    )
    add_parts(folder, find_parts(work))

"""Every learnt part with random weights, for the tiny bundle or one like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ni_core.bundles import load_bundle
from ni_core.bundles.manifest import LANDSCAPE_PART
from ni_core.bundles.parts import add_parts, find_parts
from ni_core.encoders.compact import CompactConfig, CompactEncoder
from ni_core.encoders.frozen import FeaturesConfig
from ni_core.encoders.mapper import LatentMapper, MapperConfig
from ni_core.landscapes import FAMILY, LandscapeConfig, RememberingLandscape
from ni_core.training.runs import write_part

KINDS = ("e4e", "restyle", "psp", "mapper", LANDSCAPE_PART)
FEATURES = FeaturesConfig(side=16, widths=(4, 6, 8))


def equip(folder: Path, work: Path, kinds: tuple[str, ...] = KINDS) -> Path:
    """Give a bundle such parts, which are written to `work` first."""
    write_parts(folder, work, kinds)
    add_parts(folder, [part for part in find_parts(work) if part.kind in kinds])
    return folder


def write_parts(folder: Path, work: Path, kinds: tuple[str, ...] = KINDS) -> None:
    """Write parts for a bundle's generator whose guesses are near the mean of W.

    Args:
        folder: The bundle.
        work: Where to, as `ni train` does.
        kinds: Which parts.
    """
    generator = load_bundle(folder).generator
    rows, w_dim = generator.num_layers, generator.w_dim
    mean = generator.w_avg.expand(rows, -1)
    for kind in kinds:
        torch.manual_seed(1)
        family, network = _network(kind, rows, w_dim, generator.z_dim)
        if kind == LANDSCAPE_PART:
            network.start.data.copy_(mean)
            network.basis.data.normal_(std=0.1)
        elif kind == "mapper":
            network.latent_mean.copy_(generator.w_avg)
            network.latent_basis.mul_(0.1)
        else:
            network.w_avg.copy_(mean)
            network.basis.mul_(0.1)
            nn.init.normal_(network.base.weight, std=0.1)
            nn.init.normal_(network.bends.weight, std=0.1)
        write_part(
            work,
            kind,
            network.state_dict(),
            family=family,
            config=network.config,
            generator=generator.fingerprint,
            training={"recipe": "random weights"},
        )


def _network(kind: str, rows: int, w_dim: int, z_dim: int) -> tuple[str, Any]:
    if kind == LANDSCAPE_PART:
        searched = LandscapeConfig(rows, w_dim, dimensions=12, hidden=8, steps=4)
        return FAMILY, RememberingLandscape(searched)
    if kind == "mapper":
        config = MapperConfig(
            "w+", rows, w_dim, z_dim, hidden=16, level=8, blocks=1, features=FEATURES
        )
        return LatentMapper.family, LatentMapper(config)
    refines = kind == "restyle"
    compact = CompactConfig(
        rows,
        w_dim,
        32,
        hidden=8,
        progressive=kind == "e4e",
        refines=refines,
        iterations=3 if refines else 1,
    )
    return CompactEncoder.family, CompactEncoder(compact)

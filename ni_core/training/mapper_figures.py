"""How well a latent mapper does on pictures it has not seen, whole and half unknown."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.encoders.mapper import LatentMapper
from ni_core.metrics import compare
from ni_core.training.latent_pairs import draw_latents, pictures_of
from ni_core.training.masks import hide, right_half
from ni_core.training.picture_set import TEST_START, FreshPictures
from ni_core.training.runs import random_of

TESTED = 128
"""Unseen samples."""

TEST_SEED = 1 << 20
"""Of the unseen samples."""

BATCH = 32
"""Pictures worked on at once."""


@torch.no_grad()
def unseen_pictures(bundle: Bundle, *, renders: int) -> dict[str, Tensor]:
    """Unseen pictures `[n, 3, r, r]` by source: `samples`, and `renders` if there are any."""
    generator = bundle.generator
    random = random_of(TEST_SEED, 0)
    samples = [
        pictures_of(generator, draw_latents(generator, BATCH, "z", random, mixing=0.0), "z")
        for _ in range(TESTED // BATCH)
    ]
    tested = {"samples": torch.cat(samples)}
    if renders:
        drawn = FreshPictures(seed=TEST_SEED, resolution=generator.resolution)
        tested["renders"] = drawn.take(TEST_START + torch.arange(renders), bundle.device)
    return tested


def figures(mapper: LatentMapper, bundle: Bundle, tested: dict[str, Tensor]) -> dict[str, Any]:
    """Median errors of whole pictures, and of pictures whose right half is unknown.

    Errors are always those of the whole picture.

    Returns:
        By source and mask: `mse` and `lpips`.
    """
    report: dict[str, Any] = {"pictures": {name: len(some) for name, some in tested.items()}}
    for name, pictures in tested.items():
        known = right_half(pictures.shape[-1]).to(pictures.device)
        report[name] = {
            "unmasked": _errors(mapper, bundle, pictures, pictures),
            "right_half_unknown": _errors(mapper, bundle, hide(pictures, known), pictures),
        }
    return report


@torch.no_grad()
def _errors(
    mapper: LatentMapper, bundle: Bundle, given: Tensor, wanted: Tensor
) -> dict[str, float]:
    found = []
    for some, target in zip(given.split(BATCH), wanted.split(BATCH), strict=True):
        made = pictures_of(bundle.generator, mapper.map(some), mapper.config.space)
        found += compare(made, target, bundle.perceptual)
    return {
        name: round(statistics.median(one[name] for one in found), 4) for name in ("mse", "lpips")
    }

"""Starting points of a descent: the mean of W or Z, or an encoder's guess, then random ones."""

from __future__ import annotations

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.samples import spread_labels
from ni_core.errors import InvalidOptionError
from ni_core.generators import Generator, Space
from ni_core.generators.protocol import sample_z

_START_PSI = 0.7
"""Truncation of random starting points in W, which keeps them near good pictures."""

_START_SPREAD = 0.3
"""Factor of random starting points in Z: near the mean, every picture is about as far away."""


def mean_starts(bundle: Bundle, images: Tensor, space: Space, count: int, seed: int) -> Tensor:
    """The same points for all images: an image's start must not depend on the others.

    Args:
        bundle: Whose latents they are.
        images: The targets, `[n, 3, r, r]`.
        space: The space they are in.
        count: Points of each image: the mean of the space, then random ones.
        seed: Of the random ones.

    Returns:
        `[n * count, ...]`, those of an image in a row.
    """
    points = _points(bundle.generator, space, count, seed)
    return points.repeat(len(images), *[1] * (points.dim() - 1))


def encoded_starts(bundle: Bundle, images: Tensor, space: Space, count: int, seed: int) -> Tensor:
    """As `mean_starts`, but with what the bundle's encoder finds in place of the mean.

    Raises:
        InvalidOptionError: The bundle has no encoder, or the space is z.
    """
    if bundle.encoder is None:
        raise InvalidOptionError(
            f"start is encoder, but {bundle.name} has none: add one with "
            "`ni models import --encoder`",
            option="start",
            value="encoder",
        )
    if space == "z":
        raise InvalidOptionError(
            "start is encoder, which gives latents in w+, but the space is z",
            option="start",
            value="encoder",
        )
    rows = bundle.encoder.encode(images, bundle.generator)
    found = rows.mean(dim=1) if space == "w" else rows
    points = mean_starts(bundle, images, space, count, seed).clone()
    points[::count] = found
    return points


@torch.no_grad()
def _points(generator: Generator, space: Space, count: int, seed: int) -> Tensor:
    z = sample_z(generator, count, seed=seed).to(generator.device)
    if space == "z":
        z[0] = 0
        return _START_SPREAD * z
    w = generator.w_avg.lerp(generator.map(z, spread_labels(generator, count)), _START_PSI)
    w[0] = generator.w_avg
    return w if space == "w" else generator.broadcast(w)

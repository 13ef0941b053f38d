"""Starting points of a descent: the mean of W or Z, or an encoder's guess, then random ones."""

from __future__ import annotations

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.manifest import LANDSCAPE_PART
from ni_core.bundles.samples import spread_labels
from ni_core.errors import InvalidOptionError, UnknownMethodError
from ni_core.generators import Generator, Space
from ni_core.generators.protocol import sample_z
from ni_core.inversion.encode import encoded_start, no_start
from ni_core.inversion.landscape import landscape_start

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
        count: Points of each image: the mean of the space, then random ones. A Z of directions
            has no mean, so all of its points are random.
        seed: Of the random ones.

    Returns:
        `[n * count, ...]`, those of an image in a row.
    """
    points = _points(bundle.generator, space, count, seed)
    return points.repeat(len(images), *[1] * (points.dim() - 1))


def found_start(bundle: Bundle, images: Tensor, space: Space, part: str) -> Tensor:
    """Find where to start with a part of the bundle: an encoder's guess, or a few steps of θ.

    Args:
        bundle: Whose part it is.
        images: The targets, `[n, 3, r, r]`.
        space: The space to start in.
        part: Kind of an encoder, or `landscape`.

    Returns:
        `[n, ...]`; rows of W+ are averaged where the space is w.

    Raises:
        InvalidOptionError: The bundle has no such part, or it gives latents of another space.
    """
    if part != LANDSCAPE_PART:
        return encoded_start(bundle, images, space, part)
    if space == "z":
        raise InvalidOptionError(
            f"start is {part}, which gives latents in w+, but the space is z",
            option="start",
            value=part,
        )
    try:
        found = landscape_start(bundle, images)
    except UnknownMethodError as error:
        raise no_start(part, error) from error
    return found.mean(dim=1) if space == "w" else found


@torch.no_grad()
def _points(generator: Generator, space: Space, count: int, seed: int) -> Tensor:
    z = sample_z(generator, count, seed=seed).to(generator.device)
    if space == "z":
        if not generator.normalises_z:
            z[0] = 0
        return _START_SPREAD * z
    w = generator.w_avg.lerp(generator.map(z, spread_labels(generator, count)), _START_PSI)
    w[0] = generator.w_avg
    return w if space == "w" else generator.broadcast(w)

"""Optimisation-based inference (OBI): gradient descent on the latent itself.

Source: Image2StyleGAN, arXiv:1904.03189, and the projection of StyleGAN2, arXiv:1912.04958.
Differs: a batch gives a result for each image, the best latent on the way rather than the last;
several starting points can be tried; it moves in whitened coordinates; no noise is added to the
latent.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.manifest import ENCODER_PARTS, LANDSCAPE_PART
from ni_core.generators import SPACES, Generator, Space, require_space
from ni_core.inversion.coordinates import coordinates_of
from ni_core.inversion.descent import Problem, descend
from ni_core.inversion.distance import DistanceOptions, objective_of
from ni_core.inversion.options import DescentOptions, option
from ni_core.inversion.report import Found, OnStep
from ni_core.inversion.starts import found_start, mean_starts

MEAN_START = "mean"
"""The start that needs no encoder."""


@dataclass(frozen=True)
class OptimizeOptions(DistanceOptions, DescentOptions):
    """Options of `optimize`."""

    start: str = option(
        "mean",
        "First starting point: the mean of all latents (in z a random one, where only its "
        "direction counts), or what a part of the model finds.",
        type=str,
        choices=(MEAN_START, *ENCODER_PARTS, LANDSCAPE_PART),
    )
    starts: int = option(
        4,
        "Starting points of each image; after a tenth of the steps the best one goes on.",
        type=int,
        minimum=1,
        maximum=32,
    )
    feature_views: int = option(
        1,
        "Views in which pictures are seen where the model's feature network compares them, another "
        "one at each step: as they are, and shifted, turned, enlarged or mirrored. More than one "
        "helps where that network is weak.",
        type=int,
        minimum=1,
        maximum=64,
    )
    seed: int = option(
        0, "Seed of the random starting points.", type=int, minimum=0, maximum=2**32 - 1
    )


def optimize(
    bundle: Bundle,
    images: Tensor,
    options: OptimizeOptions,
    *,
    on_step: OnStep | None = None,
    start: Tensor | None = None,
    first_step: int = 0,
) -> Found:
    """Descend from the average latent, or from the best of several.

    Args:
        bundle: Generator and perceptual distance.
        images: Targets `[n, 3, r, r]`, on the bundle's device.
        options: What to search, and how.
        on_step: Called after each step.
        start: Latents to start from instead, `[n, ...]`.
        first_step: Steps already done by the run that left `start`.

    Returns:
        The best latent of each image.

    Raises:
        InvalidOptionError: The options leave nothing to minimise, no LPIPS for the target, or ask
            for an encoder that the bundle has not.
        SpaceNotAvailableError: The generator has no such space.
        InversionDivergedError: A loss or gradient is not finite.
    """
    space = space_of(bundle.generator, options.space)
    objective = objective_of(
        bundle,
        images,
        options,
        space,
        target_lpips=options.target_lpips,
        views=options.feature_views,
    )
    problem = Problem(bundle.generator, space, objective, coordinates_of(bundle, space))
    if start is None:
        start = first_points(bundle, images, space, options)
    return descend(
        problem,
        start,
        options,
        starts=len(start) // len(images),
        on_step=on_step,
        first_step=first_step,
    )


def space_of(generator: Generator, name: str | None) -> Space:
    """Return the space of that name, or for None the largest one the generator has.

    Raises:
        SpaceNotAvailableError: The generator has no such space.
    """
    if name is not None:
        return require_space(generator, name)
    return next(space for space in reversed(SPACES) if space in generator.spaces)


def first_points(bundle: Bundle, images: Tensor, space: Space, options: OptimizeOptions) -> Tensor:
    """Where a descent begins: `[n * starts, ...]`, those of an image in a row."""
    points = mean_starts(bundle, images, space, options.starts, options.seed)
    if options.start == MEAN_START:
        return points
    points = points.clone()
    points[:: options.starts] = found_start(bundle, images, space, options.start)
    return points

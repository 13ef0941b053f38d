"""Optimisation-based inference (OBI): gradient descent on the latent itself.

Source: Image2StyleGAN, arXiv:1904.03189, and the projection of StyleGAN2, arXiv:1912.04958.
Differs: a batch gives a result for each image, the best latent on the way rather than the last;
several starting points can be tried; it moves in whitened coordinates; no noise is added to the
latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.errors import InvalidOptionError
from ni_core.generators import Generator, Space, require_space
from ni_core.inversion.coordinates import coordinates_of
from ni_core.inversion.descent import Descended, Problem, descend
from ni_core.inversion.options import DescentOptions, option
from ni_core.inversion.report import OnStep
from ni_core.objectives import Objective

_START_PSI = 0.7
"""Truncation of random starting points in W, which keeps them near good pictures."""


@dataclass(frozen=True)
class OptimizeOptions(DescentOptions):
    """Options of `optimize`."""

    space: str = option("w+", "Latent space to search.", type=str, choices=("z", "w", "w+"))
    mse_coefficient: float = option(
        1.0, "Multiplies the mean squared error on [-1, 1].", minimum=0, maximum=1e6
    )
    lpips_coefficient: float = option(0.1, "Multiplies LPIPS.", minimum=0, maximum=1e6)
    starts: int = option(
        4,
        "Starting points of each image; after a tenth of the steps the best one goes on.",
        type=int,
        minimum=1,
        maximum=32,
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
) -> Descended:
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
        InvalidOptionError: The options leave nothing to minimise, or no LPIPS for the target.
        SpaceNotAvailableError: The generator has no such space.
        InversionDivergedError: A loss or gradient is not finite.
    """
    _check_coefficients(options)
    generator = bundle.generator
    space = require_space(generator, options.space)
    objective = Objective.towards(
        images,
        bundle.perceptual,
        mse_coefficient=options.mse_coefficient,
        lpips_coefficient=options.lpips_coefficient,
    )
    problem = Problem(generator, space, objective, coordinates_of(bundle, space))
    if start is None:
        points = starting_points(generator, space, options.starts, options.seed)
        # All images try the same points: an image's start must not depend on the others.
        start = points.repeat(len(images), *[1] * (points.dim() - 1))
    return descend(
        problem,
        start,
        options,
        starts=len(start) // len(images),
        on_step=on_step,
        first_step=first_step,
    )


def starting_points(generator: Generator, space: Space, count: int, seed: int) -> Tensor:
    """Points to start from, `[count, ...]`: the average latent where there is one, then random."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    z = z.to(generator.device)
    if space == "z":
        return z
    with torch.no_grad():
        w = generator.w_avg.lerp(generator.map(z), _START_PSI)
    w[0] = generator.w_avg
    return w if space == "w" else generator.broadcast(w)


def _check_coefficients(options: OptimizeOptions) -> None:
    if not options.mse_coefficient and not options.lpips_coefficient:
        raise InvalidOptionError(
            "mse_coefficient and lpips_coefficient are both 0: there is nothing to minimise",
            option="lpips_coefficient",
            value="0",
        )
    if options.target_lpips is not None and not options.lpips_coefficient:
        raise InvalidOptionError(
            f"target_lpips is {options.target_lpips:g}, but lpips_coefficient is 0: "
            "LPIPS is not measured",
            option="target_lpips",
            value=str(options.target_lpips),
        )

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
from ni_core.errors import InvalidOptionError
from ni_core.generators import SPACES, Generator, Space, require_space
from ni_core.inversion.coordinates import coordinates_of
from ni_core.inversion.descent import Problem, descend
from ni_core.inversion.options import DescentOptions, option
from ni_core.inversion.report import Found, OnStep
from ni_core.inversion.starts import encoded_starts, mean_starts
from ni_core.objectives import Objective

_CALIBRATED_LPIPS: dict[Space, float] = {"z": 0.3, "w": 1.0, "w+": 1.0}
"""Coefficients of LPIPS by space, on a trunk that the channel weights of LPIPS fit."""

_PLAIN_LPIPS = 0.1
"""Coefficient of LPIPS on other trunks."""


@dataclass(frozen=True)
class OptimizeOptions(DescentOptions):
    """Options of `optimize`."""

    mse_coefficient: float = option(
        1.0, "Multiplies the mean squared error on [-1, 1].", minimum=0, maximum=1e6
    )
    lpips_coefficient: float | None = option(
        None,
        "Multiplies LPIPS; by default 0.1, but where the trunk is calibrated 0.3 in z, "
        "and 1 in w and w+.",
        minimum=0,
        maximum=1e6,
    )
    start: str = option(
        "mean",
        "First starting point: the mean of all latents, or what the bundle's encoder finds.",
        type=str,
        choices=("mean", "encoder"),
    )
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
    lpips_coefficient = _lpips_coefficient(bundle, options, space)
    _check_coefficients(options, lpips_coefficient)
    objective = Objective.towards(
        images,
        bundle.perceptual,
        mse_coefficient=options.mse_coefficient,
        lpips_coefficient=lpips_coefficient,
    )
    problem = Problem(bundle.generator, space, objective, coordinates_of(bundle, space))
    if start is None:
        starts = encoded_starts if options.start == "encoder" else mean_starts
        start = starts(bundle, images, space, options.starts, options.seed)
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


def _lpips_coefficient(bundle: Bundle, options: OptimizeOptions, space: Space) -> float:
    if options.lpips_coefficient is not None:
        return options.lpips_coefficient
    return _CALIBRATED_LPIPS[space] if bundle.manifest.trunk.calibrated else _PLAIN_LPIPS


def _check_coefficients(options: OptimizeOptions, lpips_coefficient: float) -> None:
    if not options.mse_coefficient and not lpips_coefficient:
        raise InvalidOptionError(
            "mse_coefficient and lpips_coefficient are both 0: there is nothing to minimise",
            option="lpips_coefficient",
            value="0",
        )
    if options.target_lpips is not None and not lpips_coefficient:
        raise InvalidOptionError(
            f"target_lpips is {options.target_lpips:g}, but lpips_coefficient is 0: "
            "LPIPS is not measured",
            option="target_lpips",
            value=str(options.target_lpips),
        )

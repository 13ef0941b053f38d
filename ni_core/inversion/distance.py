"""The loss that descents have in common: squared error and LPIPS, each with its coefficient."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.errors import InvalidOptionError
from ni_core.generators import Space
from ni_core.inversion.options import option
from ni_core.objectives import Objective

_CALIBRATED_LPIPS: dict[Space, float] = {"z": 0.3, "w": 1.0, "w+": 1.0}
"""Coefficients of LPIPS by space, on a trunk that the channel weights of LPIPS fit."""

_PLAIN_LPIPS = 0.1
"""Coefficient of LPIPS on other trunks."""


@dataclass(frozen=True)
class DistanceOptions:
    """Options of methods that minimise a distance between pictures."""

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


def lpips_coefficient_of(bundle: Bundle, options: DistanceOptions, space: Space) -> float:
    """What multiplies LPIPS in a descent in this space: the option, or the trunk's default."""
    if options.lpips_coefficient is not None:
        return options.lpips_coefficient
    return _CALIBRATED_LPIPS[space] if bundle.manifest.trunk.calibrated else _PLAIN_LPIPS


def objective_of(
    bundle: Bundle,
    images: Tensor,
    options: DistanceOptions,
    space: Space,
    target_lpips: float | None = None,
) -> Objective:
    """Build what a descent in this space minimises.

    Args:
        bundle: Whose perceptual distance it is.
        images: Targets `[n, 3, r, r]`.
        options: The coefficients.
        space: The space that is descended in.
        target_lpips: LPIPS at which the descent is to stop.

    Raises:
        InvalidOptionError: Nothing is left to minimise, or no LPIPS for the target.
    """
    lpips_coefficient = lpips_coefficient_of(bundle, options, space)
    if not options.mse_coefficient and not lpips_coefficient:
        raise InvalidOptionError(
            "mse_coefficient and lpips_coefficient are both 0: there is nothing to minimise",
            option="lpips_coefficient",
            value="0",
        )
    if target_lpips is not None and not lpips_coefficient:
        raise InvalidOptionError(
            f"target_lpips is {target_lpips:g}, but lpips_coefficient is 0: LPIPS is not measured",
            option="target_lpips",
            value=str(target_lpips),
        )
    return Objective.towards(
        images,
        bundle.perceptual,
        mse_coefficient=options.mse_coefficient,
        lpips_coefficient=lpips_coefficient,
    )

"""The loss that descents have in common: squared error, LPIPS and features, each weighed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.manifest import FEATURES_PART
from ni_core.errors import InvalidOptionError
from ni_core.generators import Space
from ni_core.inversion.missing_parts import how_to_get
from ni_core.inversion.options import option
from ni_core.objectives import Coefficients, Objective
from ni_core.views import first_views

_CALIBRATED_LPIPS: dict[Space, float] = {"z": 0.3, "w": 1.0, "w+": 1.0}
"""Coefficients of LPIPS by space, on a trunk that the channel weights of LPIPS fit."""

_PLAIN_LPIPS = 0.1
"""Coefficient of LPIPS on other trunks."""

_FEATURES = 0.5
"""Coefficient of the features of a bundle that has them."""


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
    features_coefficient: float | None = option(
        None,
        "Multiplies the distance of the model's feature network, mean over its maps of 2 - 2 "
        "cosine; by default 0.5, or 0 for a model without one.",
        minimum=0,
        maximum=1e6,
    )


def require_features(options: DistanceOptions, available: bool, model: str) -> None:
    """Check that a model can compare features, if it is asked to.

    Args:
        options: The coefficients.
        available: Whether the model has a feature network.
        model: Its name.

    Raises:
        InvalidOptionError: It cannot.
    """
    if options.features_coefficient and not available:
        raise InvalidOptionError(
            f"features_coefficient is {options.features_coefficient:g}, but {model} has no part "
            f"{FEATURES_PART}; {how_to_get(FEATURES_PART, model)}",
            option="features_coefficient",
            value=str(options.features_coefficient),
        )


def coefficients_of(bundle: Bundle, options: DistanceOptions, space: Space) -> Coefficients:
    """What multiplies each term of a descent in this space: the options, or the bundle's defaults.

    Raises:
        InvalidOptionError: The bundle lacks the feature network that is asked for, or nothing is
            left to minimise.
    """
    lpips, features = options.lpips_coefficient, options.features_coefficient
    if lpips is None:
        lpips = _CALIBRATED_LPIPS[space] if bundle.manifest.trunk.calibrated else _PLAIN_LPIPS
    if features is None:
        features = 0.0 if bundle.features is None else _FEATURES
    require_features(options, bundle.features is not None, bundle.name)
    if not (options.mse_coefficient or lpips or features):
        raise InvalidOptionError(
            "mse_, features_ and lpips_coefficient are all 0: there is nothing to minimise",
            option="lpips_coefficient",
            value="0",
        )
    return Coefficients(options.mse_coefficient, lpips, features)


def objective_of(
    bundle: Bundle,
    images: Tensor,
    options: DistanceOptions,
    space: Space,
    *,
    target_lpips: float | None = None,
    views: int = 1,
) -> Objective:
    """Build what a descent in this space minimises.

    Args:
        bundle: Whose networks they are.
        images: Targets `[n, 3, r, r]`.
        options: The coefficients.
        space: The space that is descended in.
        target_lpips: LPIPS at which the descent is to stop.
        views: In how many views features are compared.

    Raises:
        InvalidOptionError: Nothing is left to minimise, no LPIPS for the target, or the bundle
            lacks a network.
    """
    coefficients = coefficients_of(bundle, options, space)
    if target_lpips is not None and not coefficients.lpips:
        raise InvalidOptionError(
            f"target_lpips is {target_lpips:g}, but lpips_coefficient is 0: LPIPS is not measured",
            option="target_lpips",
            value=str(target_lpips),
        )
    return Objective.towards(
        images,
        coefficients,
        lpips=bundle.perceptual.features,
        features=bundle.features and bundle.features.embedding,
        views=first_views(views),
    )

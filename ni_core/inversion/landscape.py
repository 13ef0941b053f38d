"""Inversion through θ: a few steps of plain gradient descent in a space made for it.

Source: Landscape Learning for Neural Network Inversion, arXiv:2206.09027. Differs: the learning
rate of each step belongs to θ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.manifest import ENCODER_PARTS, LANDSCAPE_PART
from ni_core.errors import UnknownMethodError
from ni_core.inversion.coordinates import Coordinates
from ni_core.inversion.descent import Problem, descend
from ni_core.inversion.distance import DistanceOptions, objective_of
from ni_core.inversion.encode import encoded_start
from ni_core.inversion.missing_parts import how_to_get
from ni_core.inversion.options import DescentOptions, StopOptions, option
from ni_core.inversion.report import Found, OnStep
from ni_core.landscapes import Landscape

ORIGIN = "origin"
"""The start that needs no encoder."""

START_STEPS = 10
"""Steps in θ's space from which a descent in W+ goes on."""


@dataclass(frozen=True)
class LandscapeOptions(DistanceOptions, StopOptions):
    """Options of `landscape`."""

    steps: int = option(20, "Steps of plain descent.", type=int, minimum=1, maximum=5000)
    space: str | None = option(
        None, "Latent space of the result; there is only w+.", type=str, choices=("w+",)
    )
    start: str = option(
        ORIGIN,
        "Starting point: the one θ was trained with, or what an encoder of the model finds.",
        type=str,
        choices=(ORIGIN, *ENCODER_PARTS),
    )
    learning_rate: float | None = option(
        None,
        "Learning rate of every step; by default each step has its own, which θ was trained with.",
        minimum=1e-6,
        maximum=1000,
    )


def landscape(
    bundle: Bundle,
    images: Tensor,
    options: LandscapeOptions,
    *,
    on_step: OnStep | None = None,
    start: Tensor | None = None,
    first_step: int = 0,
) -> Found:
    """Descend in the space of the bundle's θ, from its origin.

    A run that is taken up again, or that begins with an encoder's guess, starts at the origin as
    well, with θ moved so that this is the latent it was given; it remembers no gradient.

    Args:
        bundle: Generator, perceptual distance and θ.
        images: Targets `[n, 3, r, r]`, on the bundle's device.
        options: How many steps, and towards what.
        on_step: Called after each step.
        start: Latents in W+ to start from instead, `[n, num_layers, w_dim]`.
        first_step: Steps already done by the run that left `start`.

    Returns:
        The best latent of each image.

    Raises:
        InvalidOptionError: The options leave nothing to minimise, no LPIPS for the target, or ask
            for an encoder that the bundle has not.
        UnknownMethodError: The bundle has no θ.
        InversionDivergedError: A loss or gradient is not finite.
    """
    found = landscape_of(bundle)
    objective = objective_of(bundle, images, options, "w+", target_lpips=options.target_lpips)
    origin = found(found.origin(len(images)))
    if start is None and options.start != ORIGIN:
        start = encoded_start(bundle, images, "w+", options.start)
    offset = None if start is None else start - origin
    searched = _Searched(found, offset, own_rates=options.learning_rate is None)
    plain = DescentOptions(
        steps=options.steps,
        budget_seconds=options.budget_seconds,
        target_lpips=options.target_lpips,
        patience=0,
        optimizer="sgd",
        learning_rate=options.learning_rate or 1.0,
        ramp=False,
    )
    problem = Problem(bundle.generator, "w+", objective, searched)
    return descend(
        problem, origin if start is None else start, plain, on_step=on_step, first_step=first_step
    )


def landscape_of(bundle: Bundle) -> Landscape:
    """Return the bundle's θ.

    Raises:
        UnknownMethodError: It has none.
    """
    if bundle.landscape is None:
        raise UnknownMethodError(
            f"{bundle.name} has no part {LANDSCAPE_PART}; "
            f"{how_to_get(LANDSCAPE_PART, bundle.name)}",
            value=LANDSCAPE_PART,
        )
    return bundle.landscape


def landscape_start(
    bundle: Bundle, images: Tensor, steps: int = START_STEPS
) -> Float[Tensor, "n num_layers w_dim"]:
    """Find where another descent can start, by a few steps in the space of the bundle's θ.

    Args:
        bundle: Generator, perceptual distance and θ.
        images: Targets `[n, 3, r, r]`, on the bundle's device.
        steps: Steps to make, from 1.

    Returns:
        Latents in W+.

    Raises:
        UnknownMethodError: The bundle has no θ.
        InversionDivergedError: A loss or gradient is not finite.
    """
    return landscape(bundle, images, LandscapeOptions(steps=steps)).latents


class _Searched(Coordinates):
    """The space of θ as coordinates of a descent that starts at its origin."""

    keeps_rows: ClassVar[bool] = False

    def __init__(self, found: Landscape, offset: Tensor | None, *, own_rates: bool) -> None:
        self._landscape = found
        self._offset = offset
        self._own_rates = own_rates

    def rate(self, step: int) -> float:
        """Rate that θ was trained with, or 1 for a descent that has its own."""
        return self._landscape.rate(step) if self._own_rates else 1.0

    def to_latents(self, v: Tensor) -> Tensor:
        """Points `[n, size]` to latents `[n, num_layers, w_dim]`; differentiable."""
        rows: Tensor = self._landscape(v)
        return rows if self._offset is None else rows + self._offset

    def from_latents(self, latents: Tensor) -> Tensor:
        """Points of the latents that the descent starts at: the origin."""
        return self._landscape.origin(len(latents), remembers=self._offset is None)

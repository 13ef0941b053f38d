"""What an inversion tells while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ni_core.latents import Latent
from ni_core.metrics import Metrics

Stopped = Literal["steps", "budget", "target", "plateau"]
"""Why a descent ended: all steps done, time used up, target LPIPS reached, no more progress."""


@dataclass(frozen=True)
class StepReport:
    """State after one step, for a callback.

    Attributes:
        step: Steps done, from 1; those before a resumed run count.
        steps: Steps planned.
        loss: Mean of `losses`; None if nothing was measured.
        losses: Loss of each image, measured before the step's update; none if not measured.
        latents: The latents after the update, a copy, `[n, ...]` on the generator's device. A run
            given these as `start` and `step` as `first_step` carries on from here.
        eta_s: Seconds left at the present pace.
        images: Renders the latents, `[n, 3, r, r]`; costs a synthesis.
    """

    step: int
    steps: int
    loss: float | None
    losses: list[float]
    latents: Tensor
    eta_s: float
    images: Callable[[], Tensor]


OnStep = Callable[[StepReport], None]
"""Called after each step. What it raises ends the run and reaches the caller: so runs are ended."""


@dataclass(frozen=True)
class Found:
    """What a method found.

    Attributes:
        latents: Of each image the best one, `[n, ...]`.
        history: Loss of each image at each step until it stopped.
        steps: Steps done, including those of an earlier run.
        stopped: Why it ended.
        render: Gives the pictures of the latents, where the method can do so for less.
    """

    latents: Tensor
    history: list[list[float]]
    steps: int
    stopped: Stopped
    render: Callable[[], Tensor] | None = None


@dataclass(frozen=True)
class InversionResult:
    """What an inversion found.

    Attributes:
        latents: One for each image, float32 on the CPU.
        render: Gives the generator's pictures of these latents, `[n, 3, r, r]`, not clipped; it
            renders them once, when first asked.
        metrics: Distance of each picture from its target; empty if the options say so.
        history: Loss of each image at each step, features seen in the view of that step; an image
            that stopped early has a shorter list.
        method: Name of the method that ran.
        steps: Steps done, including those before a resumed run.
        stopped: Why it ended.
        seconds: Time taken.
    """

    latents: list[Latent]
    render: Callable[[], Tensor]
    metrics: list[Metrics]
    history: list[list[float]]
    method: str
    steps: int
    stopped: Stopped
    seconds: float

    @property
    def images(self) -> Tensor:
        """What `render` gives."""
        return self.render()

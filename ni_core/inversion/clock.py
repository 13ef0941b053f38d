"""Place of a descent in its run, by steps and by time, and the learning rate there."""

from __future__ import annotations

import math
import time

from ni_core.inversion.options import DescentOptions

_FALL = 0.25
"""Part of the run in which the learning rate falls, as in StyleGAN2's projection."""


class Clock:
    """Place in the run, by steps and by time."""

    def __init__(self, options: DescentOptions, first_step: int) -> None:
        self.steps = options.steps
        self.done = first_step
        self._options = options
        self._first_step = first_step
        self._began = time.monotonic()

    def fall(self, step: int) -> float:
        """Factor of the learning rate: level, then down by a cosine.

        Under a time budget the place in the run is the used part of the budget if that is more,
        so the rate has come down when the time is up.
        """
        if not self._options.ramp:
            return 1.0
        place = (step - 1) / self.steps
        if self._options.budget_seconds:
            place = max(place, min(1.0, self._elapsed() / self._options.budget_seconds))
        down = min(1.0, (1 - place) / _FALL)
        return 0.5 - 0.5 * math.cos(math.pi * down)

    def is_up(self) -> bool:
        """Whether one more step would exceed the budget."""
        budget = self._options.budget_seconds
        return budget is not None and self._elapsed() + self._step_s() > budget

    def eta_s(self) -> float:
        """Seconds left at the present pace."""
        left = (self.steps - self.done) * self._step_s()
        if self._options.budget_seconds is not None:
            left = min(left, self._options.budget_seconds - self._elapsed())
        return max(0.0, left)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _step_s(self) -> float:
        return self._elapsed() / max(1, self.done - self._first_step)

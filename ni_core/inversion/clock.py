"""Place of a descent in its run, by steps and by time, and the learning rate there."""

from __future__ import annotations

import math
import time

from ni_core.inversion.options import DescentOptions

_RAMP_UP = 0.05
_RAMP_DOWN = 0.25
"""Parts of the run in which the learning rate rises and falls, as in StyleGAN2's projection."""

_APART_RATE = 0.5
"""Factor of the learning rate where rows of W+ move apart: all of them act on one picture."""


class Clock:
    """Place in the run, by steps and by time."""

    def __init__(self, options: DescentOptions, first_step: int) -> None:
        self.steps = options.steps
        self.done = first_step
        self._options = options
        self._first_step = first_step
        self._fresh_at = first_step if options.optimizer == "adam" else 0
        self._began = time.monotonic()

    def ramp(self, step: int) -> float:
        """Factor of the learning rate: linear up, level, cosine down.

        Adam rises anew in a run that goes on with another's latents: it knows no gradient then,
        and its first step is as long as the rate says, however near the target is.
        Under a time budget the place in the run is the used part of the budget if that is more,
        so the rate has come down when the time is up.
        """
        if not self._options.ramp:
            return 1.0
        place = (step - 1) / self.steps
        if self._options.budget_seconds:
            place = max(place, min(1.0, self._elapsed() / self._options.budget_seconds))
        down = min(1.0, (1 - place) / _RAMP_DOWN)
        up = min(1.0, (step - self._fresh_at) / (_RAMP_UP * self.steps))
        return up * (0.5 - 0.5 * math.cos(math.pi * down))

    def apart(self, step: int, shared_steps: int) -> float:
        """Factor of the learning rate once the rows of W+ move apart; it rises from 0 anew."""
        if step <= shared_steps:
            return 1.0
        return _APART_RATE * min(1.0, (step - shared_steps) / (_RAMP_UP * self.steps))

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

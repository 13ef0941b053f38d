"""Pictures on their way through the passes of an encoder that refines.

A batch holds pictures of every pass: in each step one group of them is through and makes place
for fresh ones, the others go on from the guesses of the step before, without gradients to them.
So every pass is trained all the time, and no guess is made that is not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor


@dataclass
class InFlight:
    """The pictures of a batch between two steps.

    Attributes:
        targets: `[n, 3, r, r]`.
        truths: Rows of samples in units of the spread of W, `[n, num_layers, w_dim]`; 0 for others.
        known: Which pictures are samples, `[n]`.
        guesses: Rows found so far, in the same units.
        shown: Their pictures as the encoder sees them, `[n, 3, h, w]`.
    """

    targets: Tensor
    truths: Tensor
    known: Tensor
    guesses: Tensor
    shown: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def resume(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])

    def replace(self, places: slice, fresh: InFlight) -> None:
        """Put fresh pictures in some places."""
        for name, value in self.tensors().items():
            value[places] = fresh.tensors()[name]


def group_of(step: int, batch: int, passes: int) -> slice:
    """Places of the pictures that are through before a step; all of them before the first one."""
    if step == 0:
        return slice(0, batch)
    return slice(step % passes, batch, passes)

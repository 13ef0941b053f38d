"""The buffer of landscape learning: descents on their way, and the pictures they go to.

A picture is known by its number, so the buffer stores no pixels, and a resumed run sees the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ni_core.generators import Generator
from ni_core.training.own_samples import draw_rows
from ni_core.training.picture_set import Pictures
from ni_core.training.precision import mixed_precision
from ni_core.training.runs import random_of

_SAMPLES = 102
"""Stream of random numbers."""


OWN_EVERY = 4
"""Where there is a set of pictures, every so many a target is an own sample."""


class Targets:
    """Numbered pictures: a generator's own samples, or mostly pictures of a set.

    Args:
        generator: Whose samples they are.
        pictures: The set; None for samples alone.
        seed: Of the samples.
    """

    def __init__(self, generator: Generator, pictures: Pictures | None, seed: int) -> None:
        self._generator = generator
        self._pictures = pictures
        self._seed = seed

    @torch.no_grad()
    def take(self, numbers: Int[Tensor, " n"]) -> Float[Tensor, "n 3 r r"]:
        """Pictures of these numbers, in [-1, 1], on the generator's device."""
        side, device = self._generator.resolution, self._generator.device
        taken = torch.empty(len(numbers), 3, side, side, device=device)
        own = torch.ones_like(numbers, dtype=torch.bool)
        if self._pictures is not None:
            own = numbers % OWN_EVERY == 0
        if own.any():
            taken[own] = self._samples(numbers[own])
        if self._pictures is not None and not own.all():
            others = numbers[~own]
            indices = (others - others // OWN_EVERY - 1) % len(self._pictures)
            taken[~own] = self._pictures.take(indices, device)
        return taken

    def _samples(self, numbers: Tensor) -> Tensor:
        randoms = [random_of(self._seed, number, stream=_SAMPLES) for number in numbers.tolist()]
        rows = torch.cat([draw_rows(self._generator, 1, random) for random in randoms])
        with mixed_precision(rows.device):
            images = self._generator.synthesize(rows)
        return images.float().clamp(-1, 1)


class Trajectories:
    """Descents on their way: of each the point it is at, the gradient there, and its target.

    Args:
        slots: Descents at once.
        size: Of the searched space.
        rows: Shape of W+, `(num_layers, w_dim)`.
        steps: Steps of a descent; when they are done, another picture takes its place.
    """

    def __init__(self, slots: int, size: int, rows: tuple[int, int], steps: int) -> None:
        self.points = torch.zeros(slots, size)
        self.gradients = torch.zeros(slots, *rows)
        self.numbers = torch.arange(slots)
        self.measured = torch.zeros(slots, dtype=torch.long)
        self.next_number = torch.tensor(slots)
        self._steps = steps

    def pick(self, n: int, random: torch.Generator) -> Int[Tensor, " n"]:
        """Choose descents at random, none twice."""
        return torch.randperm(len(self.points), generator=random)[:n]

    def advanced(self, n: int) -> Int[Tensor, " n"]:
        """Choose the descents that have come farthest."""
        return self.measured.argsort(descending=True, stable=True)[:n]

    def at(self, slots: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points, the gradients in W+ there, numbers of the pictures, and the next steps.

        A descent that begins has no gradient yet: its step is 0, and leads nowhere.
        """
        return (
            self.points[slots],
            self.gradients[slots],
            self.numbers[slots],
            self.measured[slots],
        )

    def put(self, slots: Tensor, points: Tensor, gradients: Tensor, steps: int = 1) -> None:
        """Store where descents have come to in some steps, and the gradient in W+ there."""
        self.points[slots] = points.detach().cpu()
        self.gradients[slots] = gradients.detach().cpu()
        self.measured[slots] += steps
        self._restart(slots[self.measured[slots] > self._steps])

    def _restart(self, slots: Tensor) -> None:
        self.points[slots] = 0
        self.gradients[slots] = 0
        self.measured[slots] = 0
        self.numbers[slots] = self.next_number + torch.arange(len(slots))
        self.next_number += len(slots)

    def tensors(self) -> dict[str, Tensor]:
        """All it holds."""
        return {
            "points": self.points,
            "gradients": self.gradients,
            "numbers": self.numbers,
            "measured": self.measured,
            "next_number": self.next_number,
        }

    def resume(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])

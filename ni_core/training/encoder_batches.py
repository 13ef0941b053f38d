"""What an encoder is trained on: a generator's samples, other pictures beside them, its codes."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from ni_core.encoders.protocol import fit_rendering, pool
from ni_core.generators import Generator
from ni_core.training.in_flight import InFlight
from ni_core.training.own_samples import draw_rows, spread_of
from ni_core.training.picture_streams import PictureStream
from ni_core.training.precision import mixed_precision
from ni_core.training.runs import random_of

COMPARED_PX = 256
"""Bigger pictures are pooled to this side before they are compared, as in the papers."""


class EncoderBatches:
    """Draws pictures for an encoder, and renders its rows.

    Args:
        generator: Frozen.
        stream: Pictures beside the samples, of side `compared_px(generator)`; None for none.
        input_shape: Height and width of the picture the encoder looks at.
        seed: Of the codes that the spread of W is measured on.
    """

    def __init__(
        self,
        generator: Generator,
        stream: PictureStream | None,
        input_shape: tuple[int, int],
        seed: int,
    ) -> None:
        self.generator, self.stream, self.device = generator, stream, generator.device
        self.input_shape = input_shape
        self.spread = spread_of(generator, random_of(seed, 0, stream=1))
        self._mean_picture = self.render(torch.zeros_like(self.spread.mean)[None])

    def render(self, rows: Tensor, *, fast: bool = False) -> Tensor:
        """Pictures of rows in units of the spread of W, pooled where they are too big to compare.

        Args:
            rows: `[n, num_layers, w_dim]`; gradients flow to them.
            fast: Whether the generator runs in mixed precision.
        """
        w_plus = self.spread.mean + rows @ self.spread.basis
        return self.render_w_plus(w_plus, fast=fast)

    def render_w_plus(self, w_plus: Tensor, *, fast: bool = False) -> Tensor:
        """As `render`, of rows of W+ as they are."""
        side = compared_px(self.generator)
        with mixed_precision(self.device) if fast else nullcontext():
            images = self.generator.synthesize(w_plus)
        return pool(images.float(), (side, side))

    @torch.no_grad()
    def draw(
        self, n: int, random: torch.Generator, *, others: int = 0, mixing: float = 0.0
    ) -> InFlight:
        """Fresh pictures, each at the mean of W.

        Args:
            n: How many.
            random: Of all that is drawn.
            others: So many of them, the first ones, are no samples; none without a stream.
            mixing: Part of the samples whose fine rows are another sample's.
        """
        others = 0 if self.stream is None else others
        w_plus = draw_rows(self.generator, n - others, random, mixing=mixing)
        targets = self.render_w_plus(w_plus, fast=True).clamp(-1, 1)
        truths = self.spread.standardised(w_plus)
        if others and self.stream is not None:
            targets = torch.cat([self.stream.draw(others, random, self.device), targets])
            truths = torch.cat([truths.new_zeros(others, *truths.shape[1:]), truths])
        return InFlight(
            targets=targets,
            truths=truths,
            known=torch.arange(n, device=self.device) >= others,
            guesses=torch.zeros_like(truths),
            shown=fit_rendering(self._mean_picture, self.input_shape).expand(n, -1, -1, -1),
        )

    def empty(self, n: int) -> InFlight:
        """Places for so many pictures."""
        rows = self.spread.mean.new_zeros(n, *self.spread.mean.shape)
        return InFlight(
            targets=rows.new_zeros(n, *self._mean_picture.shape[1:]),
            truths=rows,
            known=torch.zeros(n, dtype=torch.bool, device=self.device),
            guesses=rows.clone(),
            shown=rows.new_zeros(n, 3, *self.input_shape),
        )

    def codes(self, n: int, random: torch.Generator) -> Tensor:
        """Codes of W `[n, w_dim]` in units of its spread, each as it stands in some row."""
        rows = self.spread.standardised(draw_rows(self.generator, n, random))
        chosen = torch.randint(rows.shape[1], (n,), generator=random)
        return rows[torch.arange(n), chosen.to(rows.device)]


def compared_px(generator: Generator) -> int:
    """Side of the pictures a generator's encoder is trained on, in pixels."""
    return min(generator.resolution, COMPARED_PX)

"""What encoders of one or a few passes share: only the network that is run in a pass differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Unpack

import torch
from torch import Tensor, nn

from ni_core.encoders.base import EncoderBase, Facts
from ni_core.encoders.protocol import (
    OnPass,
    Pass,
    fit_input,
    fit_rendering,
    read_stage,
    read_steps,
)
from ni_core.encoders.rendering import Rendering
from ni_core.errors import GeneratorMismatchError
from ni_core.generators import Generator


class PassEncoder(EncoderBase):
    """An encoder that adds what `offsets` says to the mean of W, or to its last guess.

    Satisfies `Encoder`; a subclass names its family and defines `offsets`.

    Args:
        num_layers: Rows of W+.
        w_dim: Size of each.
        facts: See `Facts`.
    """

    def __init__(self, num_layers: int, w_dim: int, **facts: Unpack[Facts]) -> None:
        super().__init__(num_layers, w_dim, **facts)
        self.w_avg = nn.Buffer(torch.zeros(num_layers, w_dim))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.w_avg.device

    @torch.no_grad()
    def encode(
        self,
        images: Tensor,
        generator: Generator | None = None,
        *,
        steps: int | None = None,
        stage: int | None = None,
        start: Tensor | None = None,
        on_pass: OnPass | None = None,
    ) -> Tensor:
        """Find latents; see `Encoder.encode`."""
        steps, stage = read_steps(self, steps), read_stage(self, stage)
        generator = self._generator(generator)
        pictures = fit_input(images.to(self.device), self.input_shape)
        for step, latents, images_of in self._passes(pictures, generator, start, stage, steps):
            if on_pass is not None:
                on_pass(Pass(step, steps, latents, images_of))
        return latents

    def offsets(self, inputs: Tensor, stage: int | None = None) -> Tensor:
        """Run the network once.

        Args:
            inputs: `[n, 3, h, w]` of `input_shape`; `[n, 6, h, w]`, pictures and their
                reconstructions, if the encoder refines.
            stage: Progressive stage; None is the last one.

        Returns:
            What is to be added to the mean of W, or to the last guess: `[n, num_layers, w_dim]`.
        """
        raise NotImplementedError

    def inputs(self, pictures: Tensor, rendering: Callable[[], Tensor]) -> Tensor:
        """What the network looks at: pictures that fit, and their last reconstructions if it can.

        Args:
            pictures: `[n, 3, h, w]` of `input_shape`.
            rendering: Gives the pictures of the last guesses, or of one guess for all.
        """
        if not self.needs_generator:
            return pictures
        shown = fit_rendering(rendering(), self.input_shape).expand_as(pictures)
        return torch.cat([pictures, shown], dim=1)

    def _passes(
        self,
        pictures: Tensor,
        generator: Generator | None,
        start: Tensor | None,
        stage: int,
        steps: int,
    ) -> Iterator[tuple[int, Tensor, Rendering]]:
        latents = self._start(start, len(pictures))
        rendering = Rendering(generator, latents if start is not None else self.w_avg[None])
        for step in range(1, steps + 1):
            latents = latents + self.offsets(self.inputs(pictures, rendering), stage)
            rendering = Rendering(generator, latents)
            yield step, latents, rendering

    def _start(self, start: Tensor | None, n: int) -> Tensor:
        if start is None:
            return self.w_avg.expand(n, -1, -1)
        self.require_refining()
        return start.to(self.w_avg)

    def _generator(self, given: Generator | None) -> Generator | None:
        generator = self.fitting_generator(given)
        if generator is None and self.needs_generator:
            raise GeneratorMismatchError(
                "this encoder looks at the picture of its last guess, and so needs its generator"
            )
        return generator

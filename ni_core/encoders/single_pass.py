"""What encoders of a single pass have in common: `encode` around one guess."""

from __future__ import annotations

import torch
from torch import Tensor

from ni_core.encoders.base import EncoderBase
from ni_core.encoders.protocol import OnPass, Pass, read_stage, read_steps
from ni_core.encoders.rendering import Rendering
from ni_core.generators import Generator


class SinglePassEncoder(EncoderBase):
    """An encoder that looks once, without stages; a subclass gives `device` and `guess`."""

    def guess(self, images: Tensor, generator: Generator | None) -> Tensor:
        """Latents of pictures `[n, 3, h, w]` of any size, as `encode` gives them."""
        raise NotImplementedError

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
        """Find latents; see `Encoder.encode`. Without W they are `[n, z_dim]`."""
        read_steps(self, steps)
        read_stage(self, stage)
        if start is not None:
            self.require_refining()
        generator = self.fitting_generator(generator)
        latents = self.guess(images, generator)
        if on_pass is not None:
            on_pass(Pass(1, 1, latents, Rendering(generator, latents)))
        return latents

"""What encoders of a single pass have in common: their facts, and `encode` around one guess."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ni_core.encoders.protocol import OnPass, Pass, read_stage, read_steps, require_fit
from ni_core.encoders.rendering import Rendering
from ni_core.errors import InvalidOptionError
from ni_core.generators import Generator, Space


class SinglePassEncoder(nn.Module):
    """An encoder that looks once, without stages; a subclass gives `device` and `guess`."""

    family: str

    def __init__(
        self, num_layers: int, w_dim: int, *, input_shape: tuple[int, int], space: Space
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.w_dim = w_dim
        self.input_shape = input_shape
        self.space: Space = space
        self.iterations = 1
        self.needs_generator = False
        self.stages = 0
        self.generator: Generator | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        raise NotImplementedError

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
            raise InvalidOptionError("this encoder has a single pass: it cannot refine a start")
        generator = generator if generator is not None else self.generator
        if generator is not None:
            require_fit(self, generator)
        latents = self.guess(images, generator)
        if on_pass is not None:
            on_pass(Pass(1, 1, latents, Rendering(generator, latents)))
        return latents

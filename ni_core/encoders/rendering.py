"""The picture of an encoder's guess, rendered when it is first asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from ni_core.errors import GeneratorMismatchError
from ni_core.generators import Generator


class Rendering:
    """Renders latents at most once, and only if somebody looks."""

    def __init__(self, generator: Generator | None, latents: Tensor) -> None:
        self._generator = generator
        self._latents = latents
        self._images: Tensor | None = None

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Return the picture `[n, 3, r, r]`.

        Raises:
            GeneratorMismatchError: There is no generator.
        """
        if self._generator is None:
            raise GeneratorMismatchError("no picture without the generator of these latents")
        if self._images is None:
            self._images = self._generator.synthesize(self._latents)
        return self._images

"""Endless pictures to train on: of the renderer, of a folder, or a generator's own samples."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ni_core.bundles.bundle import load_bundle
from ni_core.errors import InvalidOptionError
from ni_core.generators import Generator, to_synthesis_input
from ni_core.training.picture_set import Pictures, open_pictures

RENDERED_PX = 64
"""Side of renders where nothing else is asked for."""


class PictureStream(Protocol):
    """Pictures drawn by random numbers that are given.

    Attributes:
        name: Where they come from, for the record.
        resolution: Side in pixels.
    """

    name: str
    resolution: int

    def draw(self, n: int, random: torch.Generator, device: torch.device) -> Tensor:
        """Draw pictures `[n, 3, r, r]` in [-1, 1]."""
        ...


class Renders:
    """Pictures of a set, in random order."""

    def __init__(self, pictures: Pictures) -> None:
        self.name = f"renders of seed {pictures.seed}"
        self.resolution = pictures.resolution
        self._pictures = pictures

    def draw(self, n: int, random: torch.Generator, device: torch.device) -> Tensor:
        """See `PictureStream`."""
        indices = torch.randint(len(self._pictures), (n,), generator=random)
        return self._pictures.take(indices, device)


class Samples:
    """A generator's own pictures of random latents."""

    def __init__(self, generator: Generator, name: str) -> None:
        self.name = f"samples of {name}"
        self.resolution = generator.resolution
        self._generator = generator

    @torch.no_grad()
    def draw(self, n: int, random: torch.Generator, device: torch.device) -> Tensor:
        """See `PictureStream`."""
        z = draw_z(self._generator, n, random).to(self._generator.device)
        images = self._generator.synthesize(to_synthesis_input(self._generator, z, "z"))
        return images.clamp(-1, 1).to(device)


def draw_z(generator: Generator, n: int, random: torch.Generator) -> Tensor:
    """Draw z `[n, z_dim]` by the generator's prior, on the CPU."""
    if generator.prior == "uniform":
        return torch.rand(n, generator.z_dim, generator=random) * 2 - 1
    return torch.randn(n, generator.z_dim, generator=random)


def open_stream(
    data: str,
    bundle: str | None,
    *,
    seed: int,
    resolution: int = RENDERED_PX,
    limit: int | None = None,
) -> PictureStream:
    """Open a source of training pictures.

    Args:
        data: Folder of a set, `none` to render, or `samples`.
        bundle: Name or folder of the bundle whose samples are drawn, with `samples`.
        seed: Stream of the renders.
        resolution: Side of the renders in pixels.
        limit: At most so many renders.

    Raises:
        InvalidOptionError: `samples` without a bundle.
    """
    if data != "samples":
        return Renders(open_pictures(data, seed=seed, resolution=resolution, limit=limit))
    if bundle is None:
        raise InvalidOptionError(
            "--data samples needs --bundle: whose samples?", option="bundle", value=None
        )
    loaded = load_bundle(bundle)
    return Samples(loaded.generator, loaded.name)

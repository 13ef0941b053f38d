"""What every generator family offers, so that no method asks which family it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from ni_core.errors import InvalidLatentError, SpaceNotAvailableError

Space = Literal["z", "w", "w+"]
"""A latent space: Z, W or W+."""

SPACES: tuple[Space, ...] = ("z", "w", "w+")

Noise = Literal["const", "random", "none"] | Sequence[Tensor]
"""Per-layer spatial noise: the stored buffers, fresh Gaussian noise, none, or given maps."""


@runtime_checkable
class Generator(Protocol):
    """A frozen pretrained generator.

    A family without layers or W says so by `spaces == {"z"}`: then `num_layers` and `w_dim` are 0
    and `synthesize` takes `[n, z_dim]`.
    """

    family: str
    fingerprint: str
    resolution: int
    z_dim: int
    w_dim: int
    num_layers: int
    spaces: frozenset[Space]
    noise_shapes: tuple[tuple[int, int], ...]

    @property
    def w_avg(self) -> Tensor:
        """Mean of W, `[w_dim]`."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def map(self, z: Tensor) -> Tensor:
        """Map z `[n, z_dim]` ~ N(0, I) to w `[n, w_dim]`."""
        ...

    def broadcast(self, w: Tensor, psi: float = 1.0) -> Tensor:
        """Repeat w `[n, w_dim]` over all rows, truncated towards `w_avg` by psi."""
        ...

    def synthesize(self, w_plus: Tensor, noise: Noise = "const") -> Tensor:
        """Render w_plus `[n, num_layers, w_dim]` as RGB `[n, 3, side, side]`, about [-1, 1]."""
        ...

    def style_weights(self, layers: Sequence[int]) -> Tensor:
        """Affine weights of these W+ rows, joined: `[w_dim, channels]`."""
        ...


def require_space(generator: Generator, space: str) -> Space:
    """Return `space` as a `Space` of this generator.

    Raises:
        SpaceNotAvailableError: The generator has no such space.
    """
    for known in SPACES:
        if known == space and known in generator.spaces:
            return known
    available: list[str] = [known for known in SPACES if known in generator.spaces]
    raise SpaceNotAvailableError(
        f"space {space!r} is not one of this generator's: {', '.join(available)}",
        value=space,
        limit=available,
    )


def latent_shape(generator: Generator, space: Space) -> tuple[int, ...]:
    """Shape of one latent of this space, without the batch dimension."""
    shapes: dict[Space, tuple[int, ...]] = {
        "z": (generator.z_dim,),
        "w": (generator.w_dim,),
        "w+": (generator.num_layers, generator.w_dim),
    }
    return shapes[require_space(generator, space)]


def to_synthesis_input(
    generator: Generator, latents: Tensor, space: Space, psi: float = 1.0
) -> Tensor:
    """Turn a batch of latents of any space into what `synthesize` takes.

    Args:
        generator: Whose latents these are.
        latents: `[n, *latent_shape(generator, space)]`.
        space: The space they are in.
        psi: Truncation towards `w_avg`; 1 leaves the latents as they are. Ignored where there is
            no W.

    Returns:
        `[n, num_layers, w_dim]`, or `[n, z_dim]` for a generator with only z. Differentiable.

    Raises:
        InvalidLatentError: The shape does not fit.
        SpaceNotAvailableError: The generator has no such space.
    """
    expected = latent_shape(generator, space)
    if tuple(latents.shape[1:]) != expected:
        raise InvalidLatentError(
            f"latents of shape {list(latents.shape[1:])} do not fit space {space}, "
            f"which takes {list(expected)}",
            value=list(latents.shape[1:]),
            limit=list(expected),
        )
    if generator.num_layers == 0:
        return latents
    if space == "z":
        return generator.broadcast(generator.map(latents), psi)
    if space == "w":
        return generator.broadcast(latents, psi)
    return latents if psi == 1.0 else generator.w_avg.lerp(latents, psi)

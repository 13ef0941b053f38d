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

Prior = Literal["normal", "uniform"]
"""Law of every number of z: N(0, 1), or evenly from -1 to 1."""

Noise = Literal["const", "random", "none"] | Sequence[Tensor]
"""Per-layer spatial noise: the stored buffers, fresh Gaussian noise, none, or given maps."""


@runtime_checkable
class Generator(Protocol):
    """A frozen pretrained generator.

    A family without layers or W says so by `spaces == {"z"}`: then `num_layers` and `w_dim` are 0,
    `synthesize` takes `[n, z_dim]`, and `map` and `broadcast` raise SpaceNotAvailableError.

    Attributes:
        family: Name in the table of families.
        fingerprint: Names the weights.
        resolution: Side of the image in pixels.
        z_dim: Size of z.
        w_dim: Size of w.
        num_layers: Rows of W+.
        num_classes: Classes of a conditional generator; 0 for others.
        prior: Law of every number of z.
        normalises_z: Whether z is brought to one length first: only its direction counts, and 0
            is no point of Z.
        spaces: Latent spaces it has.
        noise_shapes: Sides of the noise maps `synthesize` takes.
    """

    family: str
    fingerprint: str
    resolution: int
    z_dim: int
    w_dim: int
    num_layers: int
    num_classes: int
    prior: Prior
    normalises_z: bool
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

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map z `[n, z_dim]` to w `[n, w_dim]`, or `[n, num_layers, w_dim]` without a space w.

        `labels` of a conditional generator are class indexes `[n]` or rows `[n, num_classes]`;
        None is class 0.
        """
        ...

    def broadcast(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Bring w to W+ rows, those before `cutoff` truncated towards `w_avg` by psi."""
        ...

    def synthesize(self, w_plus: Tensor, noise: Noise = "const") -> Tensor:
        """Render w_plus `[n, num_layers, w_dim]` as RGB `[n, 3, side, side]`, about [-1, 1]."""
        ...

    def style_weights(self, layers: Sequence[int]) -> Tensor:
        """Affine weights of these W+ rows, joined: `[w_dim, channels]`.

        Without W: the weights of the first layer, `[z_dim, channels]`, for no rows.
        """
        ...


def broadcast_rows(
    w: Tensor, w_avg: Tensor, num_layers: int, psi: float = 1.0, cutoff: int | None = None
) -> Tensor:
    """Bring w to W+ rows, truncated towards the mean; what every family's `broadcast` does.

    Args:
        w: `[n, w_dim]`, or rows `[n, num_layers, w_dim]`.
        w_avg: Mean of W, `[w_dim]`.
        num_layers: Rows of W+.
        psi: 1 leaves w as it is, 0 gives `w_avg`.
        cutoff: Rows from here on are not truncated; None truncates all.

    Returns:
        `[n, num_layers, w_dim]`.
    """
    rows = w if w.dim() == 3 else w[:, None, :].expand(-1, num_layers, -1)
    if psi == 1.0:
        return rows
    if cutoff is None:
        return w_avg.lerp(rows, psi)
    return torch.cat([w_avg.lerp(rows[:, :cutoff], psi), rows[:, cutoff:]], dim=1)


def no_w(family: str) -> SpaceNotAvailableError:
    """Error of a family that has no W."""
    return SpaceNotAvailableError(f"{family} has no space w, only z", value="w", limit=["z"])


def one_hot(labels: Tensor | None, num_classes: int, n: int, like: Tensor) -> Tensor:
    """Rows `[n, num_classes]` of class labels, on the device and of the type of `like`.

    Args:
        labels: Class indexes `[n]`, rows `[n, num_classes]`, or None for class 0.
        num_classes: Number of classes, from 1.
        n: Batch size.
        like: A tensor that tells device and type.

    Raises:
        InvalidLatentError: A label is not from 0 to num_classes - 1, or the shape is wrong.
    """
    if labels is None:
        labels = torch.zeros(n, dtype=torch.long)
    if labels.dim() == 2 and tuple(labels.shape) == (n, num_classes):
        return labels.to(like)
    if tuple(labels.shape) != (n,) or not bool(((labels >= 0) & (labels < num_classes)).all()):
        raise InvalidLatentError(
            f"labels of shape {list(labels.shape)} must be {n} class indexes from 0 to "
            f"{num_classes - 1}, or rows [{n}, {num_classes}]",
            value=list(labels.shape),
            limit=num_classes - 1,
        )
    return torch.nn.functional.one_hot(labels.long(), num_classes).to(like)


def sample_z(generator: Generator, n: int, *, seed: int) -> Tensor:
    """Draw z by the generator's prior, `[n, z_dim]`, on the CPU, the same for the same seed."""
    source = torch.Generator().manual_seed(seed)
    if generator.prior == "uniform":
        return torch.rand(n, generator.z_dim, generator=source) * 2 - 1
    return torch.randn(n, generator.z_dim, generator=source)


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

"""Latent mappers: frozen features of a picture to a latent, by a small network and in one pass.

The network was trained on a generator's own samples alone: latent, picture, features, and back.
Nothing is compared with the picture, so a picture with unknown (grey) parts has a latent as well.

The feature network is part of the mapper: its weights are in the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ni_core.encoders.frozen import FeaturesConfig, FrozenFeatures
from ni_core.encoders.mapper_heads import LowRank, MultiLevel, Plain, grid_sizes, pooled
from ni_core.encoders.single_pass import SinglePassEncoder
from ni_core.errors import BrokenBundleError, GeneratorMismatchError
from ni_core.generators import Generator, Space, latent_shape, to_synthesis_input
from ni_core.generators.unfilled import fields_of

Architecture = Literal["plain", "multi-level"]
"""`plain` reads the vector of the features, `multi-level` their inner maps as well."""


@dataclass(frozen=True)
class MapperConfig:
    """Configuration of a latent mapper.

    Attributes:
        space: Latent space of the result.
        num_layers: Rows of W+ of the generator; 0 without W.
        w_dim: Size of each; 0 without W.
        z_dim: Size of z.
        architecture: What is read of the features.
        hidden: Width of the network.
        level: Numbers that each inner map is brought to.
        grid: Inner maps are averaged to so many cells a side.
        blocks: Residual blocks.
        dropout: Part of the hidden numbers left out in training.
        rank: Of the linear map that the network's result is added to; 0 for none.
        features: The feature network.
    """

    space: Space
    num_layers: int
    w_dim: int
    z_dim: int
    architecture: Architecture = "multi-level"
    hidden: int = 320
    level: int = 96
    grid: int = 4
    blocks: int = 3
    dropout: float = 0.1
    rank: int = 0
    features: FeaturesConfig = field(default_factory=FeaturesConfig)

    def __post_init__(self) -> None:
        """Take the features' fields from JSON, and check the rest."""
        if isinstance(self.features, Mapping):
            object.__setattr__(self, "features", FeaturesConfig(**fields_of(self.features)))
        if self.architecture == "multi-level" and not self.features.channels:
            raise BrokenBundleError(
                f"the feature network {self.features.network} has no inner maps, which a "
                "multi-level mapper reads: make a plain one, with --architecture plain",
                value=self.features.network,
            )

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Rows and numbers of what the network gives: W+ has several rows."""
        if self.space == "w+":
            return (self.num_layers, self.w_dim)
        return (1, self.w_dim if self.space == "w" else self.z_dim)

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers read of each inner map, and of the vector."""
        if self.architecture == "plain":
            return (self.features.vector_dim,)
        sizes = grid_sizes(self.features.channels, self.grid)
        return (*sizes, self.features.vector_dim)


class LatentMapper(SinglePassEncoder):
    """A latent mapper; satisfies `Encoder`.

    Without W, its result is z `[n, z_dim]`; a mapper to z of a generator with W needs that
    generator, which takes z to rows of W+.
    """

    family: str = "mapper"

    def __init__(self, config: MapperConfig) -> None:
        super().__init__(
            config.num_layers,
            config.w_dim,
            input_shape=(config.features.side, config.features.side),
            space="w+" if config.space == "z" and config.num_layers else config.space,
        )
        self.config = config
        self.features = FrozenFeatures(config.features)
        rows, numbers = config.latent_shape
        self.head: Plain | MultiLevel = (
            Plain(config.levels[0], config.hidden, config.blocks, config.dropout, rows * numbers)
            if config.architecture == "plain"
            else MultiLevel(
                config.levels,
                config.level,
                config.hidden,
                config.blocks,
                config.dropout,
                rows * numbers,
            )
        )
        self.shortcut = (
            LowRank(sum(config.levels), config.rank, rows * numbers) if config.rank else None
        )
        self.feature_mean = nn.Buffer(torch.zeros(sum(config.levels)))
        self.feature_scale = nn.Buffer(torch.ones(sum(config.levels)))
        self.latent_mean = nn.Buffer(torch.zeros(numbers))
        self.latent_basis = nn.Buffer(torch.eye(numbers))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.latent_mean.device

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Features of pictures, not yet standardised: grids of the inner maps, and the vector.

        Args:
            images: RGB in [-1, 1]; 0 where nothing is known.
        """
        if self.config.architecture == "plain":
            return self.features.vector(images)
        maps, vector = self.features.maps_and_vector(images)
        grids = [pooled(one, self.config.grid) for one in maps]
        return torch.cat([*grids, vector], dim=1)

    def whitened(self, read: Float[Tensor, "n d"]) -> Float[Tensor, "n rows numbers"]:
        """Latents in units of their own spread, from what `read` gave."""
        standard = (read - self.feature_mean) * self.feature_scale
        numbers: Tensor = self.head(standard)
        if self.shortcut is not None:
            numbers = numbers + self.shortcut(standard)
        return numbers.reshape(-1, *self.config.latent_shape)

    def coloured(self, whitened: Float[Tensor, "n rows numbers"]) -> Tensor:
        """Latents of the mapper's space: `[n, z_dim]`, `[n, w_dim]` or `[n, num_layers, w_dim]`."""
        latents: Tensor = whitened @ self.latent_basis + self.latent_mean
        return latents if self.config.space == "w+" else latents[:, 0]

    @torch.no_grad()
    def map(self, images: Float[Tensor, "n 3 h w"]) -> Tensor:
        """Latents of pictures in the mapper's own space; 0 is where nothing is known."""
        return self.coloured(self.whitened(self.read(images.to(self.device)).float()))

    def guess(self, images: Tensor, generator: Generator | None) -> Tensor:
        """Latents of pictures, in W+ where there is W; see `SinglePassEncoder.guess`."""
        return self._rows(self.map(images), generator)

    def _rows(self, latents: Tensor, generator: Generator | None) -> Tensor:
        if self.config.space == "w+":
            return latents
        if self.config.space == "w":
            return latents[:, None].expand(-1, self.num_layers, -1)
        if generator is None and self.num_layers:
            raise GeneratorMismatchError(
                "this mapper gives z, and needs its generator to take that to W+"
            )
        if generator is None:
            return latents
        _require_z(self.config.z_dim, generator)
        return to_synthesis_input(generator, latents, "z")


def _require_z(z_dim: int, generator: Generator) -> None:
    theirs = latent_shape(generator, "z")[0]
    if theirs != z_dim:
        raise GeneratorMismatchError(
            f"the mapper gives z of {z_dim} numbers, but the generator takes {theirs}",
            value=z_dim,
            limit=theirs,
        )

"""The training of a latent mapper's head: features to the latents they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ni_core.bundles.bundle import Bundle
from ni_core.encoders.mapper import LatentMapper, MapperConfig
from ni_core.encoders.mapper_heads import LowRank, MultiLevel
from ni_core.generators import Generator
from ni_core.training.latent_pairs import PairRecipe
from ni_core.training.own_samples import spread_of
from ni_core.training.picture_probes import picture_probes
from ni_core.training.precision import mixed_precision
from ni_core.training.reduced_rank import fit_low_rank
from ni_core.training.runs import (
    joined,
    optimiser_tensors,
    part_of,
    random_of,
    restore_optimiser,
)
from ni_core.training.schedule import set_warm_cosine

NARROWEST = 1e-4
"""Features that vary less than this count as constant."""


PART = 512
"""Pairs that are standardised at once."""

UNSEEN = 0.1
"""Weight of errors as they are, beside that of errors as they are seen."""


@dataclass(frozen=True)
class MapperRecipe:
    """What the result depends on.

    Attributes:
        pairs: How the pairs are made.
        samples: How many different pairs there are.
        config: The mapper.
        pictures: Length of the training, with repetition; the learning rate falls to 0 over it.
        masked: Part of the pictures that are seen with unknown parts.
        probes: Errors are weighed by what is seen of them, in so many probes; 0 weighs all alike.
        batch: Pictures of a step.
        rate: Highest learning rate.
        weight_decay: Of AdamW.
        warmup: Part of the training over which the rate rises.
        seed: Of weights, order and dropout.
    """

    pairs: PairRecipe
    samples: int
    config: MapperConfig
    pictures: int
    masked: float = 0.5
    probes: int = 512
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 0.02
    warmup: float = 0.05
    seed: int = 1


class MapperRun:
    """A training of a mapper's head; a `Run`.

    Args:
        recipe: What the result depends on.
        mapper: With its feature network; its head and its buffers are made here.
        bundle: Whose latents these are.
        features: Of whole and of masked pictures, `[2, n, d]`.
        latents: `[n, rows, numbers]`.
        draw: Makes the sheet from the mapper.
    """

    kind = "mapper"

    def __init__(
        self,
        recipe: MapperRecipe,
        mapper: LatentMapper,
        bundle: Bundle,
        features: Tensor,
        latents: Tensor,
        draw: Callable[[LatentMapper], Tensor],
    ) -> None:
        self.recipe, self.seen, self.batch = recipe, 0, recipe.batch
        self.mapper, self._features, self._draw = mapper, features, draw
        self.device = mapper.device
        standardise(mapper, features, latents, bundle.generator)
        self._probes = _probes(recipe, mapper, bundle) if recipe.probes else None
        inverse = torch.linalg.inv(mapper.latent_basis.cpu().double()).float()
        self._targets = (latents - mapper.latent_mean.cpu()) @ inverse
        if mapper.shortcut is not None:
            seen = features[:1] if recipe.masked == 0 else features
            fit_shortcut(mapper, seen, self._targets)
        self.optimiser = torch.optim.AdamW(
            mapper.head.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay
        )

    def step(self) -> dict[str, Tensor]:
        """One step; returns the error of latents in units of their spread, and what is seen."""
        number = self.seen // self.batch
        read, wanted = self._take(random_of(self.recipe.seed, number))
        self.mapper.head.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_of(self.recipe.seed, number, stream=1).initial_seed())
            with mixed_precision(self.device):
                found = self.mapper.whitened(read)
        losses = self._losses(found.float() - wanted)
        done = self.seen / self.recipe.pictures
        set_warm_cosine(self.optimiser, self.recipe.rate, done, self.recipe.warmup)
        self.optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self.optimiser.step()
        self.seen += self.batch
        return {name: loss.detach() for name, loss in losses.items()}

    def tensors(self) -> dict[str, Tensor]:
        """See `Run`."""
        parts = {
            "head": self.mapper.head.state_dict(),
            "optimiser": optimiser_tensors(self.optimiser),
        }
        return joined(parts)

    def resume(self, seen: int, tensors: Mapping[str, Tensor]) -> None:
        """See `Run`."""
        self.seen = seen
        self.mapper.head.load_state_dict(part_of(tensors, "head"))
        restore_optimiser(self.optimiser, part_of(tensors, "optimiser"))

    def sheet(self) -> Tensor:
        """See `Run`."""
        self.mapper.eval()
        return self._draw(self.mapper)

    def _losses(self, error: Tensor) -> dict[str, Tensor]:
        """Squared errors of whitened latents: of all numbers, as seen, and what is minimised."""
        latent = error.square().mean()
        if self._probes is None:
            return {"loss": latent}
        seen = (error.flatten(1) @ self._probes.T).square().sum(dim=1).mean()
        return {"loss": seen.lerp(latent, UNSEEN), "latent": latent, "seen": seen}

    def _take(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features and whitened latents of a batch, some of them of masked pictures."""
        chosen = torch.randint(len(self._targets), (self.batch,), generator=random)
        masked = torch.rand(self.batch, generator=random) < self.recipe.masked
        read = self._features[masked.long(), chosen].to(self.device).float()
        return read, self._targets[chosen].to(self.device)


def _probes(recipe: MapperRecipe, mapper: LatentMapper, bundle: Bundle) -> Tensor:
    return picture_probes(
        bundle,
        mapper.config.space,
        mapper.latent_basis,
        probes=recipe.probes,
        seed=recipe.seed,
    ).to(mapper.device)


@torch.no_grad()
def fit_shortcut(mapper: LatentMapper, features: Tensor, targets: Tensor) -> None:
    """Set the mapper's linear map to the best one, and let its network begin at 0.

    Args:
        mapper: With its buffers.
        features: `[versions, n, d]`; each version of a picture has the same latent.
        targets: Whitened latents `[n, rows, numbers]`.
    """
    n, device = len(targets), mapper.device
    order = torch.arange(n).repeat_interleave(len(features))
    read = features.transpose(0, 1).flatten(0, 1)
    standard = torch.empty(read.shape, dtype=read.dtype)
    for part, out in zip(read.split(PART), standard.split(PART), strict=True):
        out.copy_((part.to(device).float() - mapper.feature_mean) * mapper.feature_scale)
    shortcut = cast(LowRank, mapper.shortcut)
    fit = fit_low_rank(standard, targets.flatten(1)[order], rank=mapper.config.rank)
    shortcut.inner.weight.copy_(fit.inner)
    shortcut.outer.weight.copy_(fit.outer)
    shortcut.outer.bias.copy_(fit.bias)
    shortcut.requires_grad_(False)
    last = mapper.head.plain.exit if isinstance(mapper.head, MultiLevel) else mapper.head.exit
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


@torch.no_grad()
def standardise(
    mapper: LatentMapper, features: Tensor, latents: Tensor, generator: Generator
) -> None:
    """Set the mapper's buffers: mean and spread of the features and of the latents."""
    both = features.flatten(0, 1)
    mean = both.mean(dim=0, dtype=torch.float32)
    deviation = torch.cat([part.float().std(dim=0) for part in both.split(512, dim=1)])
    mapper.feature_mean.copy_(mean)
    mapper.feature_scale.copy_(torch.where(deviation > NARROWEST, 1 / deviation, 0.0))
    if mapper.config.space == "z":
        mapper.latent_basis.copy_(torch.eye(latents.shape[-1]) * latents.std())
        return
    spread = spread_of(generator, random_of(0, 0))
    mapper.latent_mean.copy_(spread.mean[0])
    mapper.latent_basis.copy_(spread.basis)

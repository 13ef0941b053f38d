"""The contrastive training of a feature network: two views of a picture shall have like features.

Source: SimCLR, arXiv:2002.05709. Differs: a small trunk, small views, AdamW, no mirroring unless
asked for (latents must tell left from right). Views are smaller than the pictures the network
sees later, so that things appear equally large in both (arXiv:1906.06423).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ni_core.bundles.manifest import FEATURES_PART
from ni_core.encoders.frozen import FeaturesConfig, FrozenFeatures
from ni_core.encoders.protocol import fit_input
from ni_core.images import grid
from ni_core.training.augmentations import Augmentations, augment
from ni_core.training.picture_streams import PictureStream
from ni_core.training.precision import mixed_precision
from ni_core.training.runs import (
    joined,
    optimiser_tensors,
    part_of,
    random_of,
    restore_optimiser,
)
from ni_core.training.schedule import set_warm_cosine

PICTURES = 76_800
"""Pictures of a training, two views each."""

SHOWN, GALLERY = 6, 256
"""Pictures on the sheet with their nearest neighbours, and among how many these are found."""


@dataclass(frozen=True)
class ContrastiveRecipe:
    """What the result depends on.

    Attributes:
        source: Where the pictures come from.
        pictures: Length of the training; the learning rate falls to 0 over it.
        features: The network.
        views: How pictures become views.
        batch: Pictures of a step; there are twice as many views.
        projection: Size of the space in which views are compared.
        temperature: Divides the cosines.
        rate: Highest learning rate.
        weight_decay: Of AdamW.
        warmup: Part of the training over which the rate rises.
        seed: Of weights, order and views.
    """

    source: str
    pictures: int = PICTURES
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    views: Augmentations = field(default_factory=Augmentations)
    batch: int = 128
    projection: int = 64
    temperature: float = 0.1
    rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.05
    seed: int = 1


class ContrastiveRun:
    """A training of a feature network; a `Run`."""

    kind = FEATURES_PART

    def __init__(
        self, recipe: ContrastiveRecipe, stream: PictureStream, device: torch.device
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.seen, self.batch = recipe, 0, recipe.batch
        self.stream, self.device = stream, device
        self.features = FrozenFeatures(recipe.features).to(device)
        self.features.to(memory_format=torch.channels_last)
        width = recipe.features.widths[-1]
        self.projection = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, recipe.projection)
        ).to(device)
        self.optimiser = torch.optim.AdamW(
            [*self.features.parameters(), *self.projection.parameters()],
            lr=recipe.rate,
            weight_decay=recipe.weight_decay,
        )

    def step(self) -> dict[str, Tensor]:
        """One step; returns the loss and the part of views that find their partner."""
        number = self.seen // self.batch
        random = random_of(self.recipe.seed, number)
        pictures = self._draw(self.batch, random)
        views = augment(torch.cat([pictures, pictures]), self.recipe.views, random)
        self.features.train()
        with mixed_precision(self.device):
            last = self.features.network.maps(views.contiguous(memory_format=torch.channels_last))
            codes = self.projection(last[-1].mean(dim=(2, 3)))
        loss, found = nt_xent(codes.float(), self.recipe.temperature)
        done = self.seen / self.recipe.pictures
        set_warm_cosine(self.optimiser, self.recipe.rate, done, self.recipe.warmup)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.seen += self.batch
        return {"loss": loss.detach(), "found": found}

    def tensors(self) -> dict[str, Tensor]:
        """See `Run`."""
        return joined(
            {
                "features": self.features.state_dict(),
                "projection": self.projection.state_dict(),
                "optimiser": optimiser_tensors(self.optimiser),
            }
        )

    def resume(self, seen: int, tensors: Mapping[str, Tensor]) -> None:
        """See `Run`."""
        self.seen = seen
        self.features.load_state_dict(part_of(tensors, "features"))
        self.projection.load_state_dict(part_of(tensors, "projection"))
        restore_optimiser(self.optimiser, part_of(tensors, "optimiser"))

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Each row: a picture, two of its views, and the nearest others by their vectors."""
        random = random_of(self.recipe.seed, 0, stream=1)
        gallery = self._draw(GALLERY, random)
        self.features.eval()
        codes = functional.normalize(
            torch.cat([self.features.vector(part) for part in gallery.split(64)])
        )
        nearest = (codes[:SHOWN] @ codes.T).topk(SHOWN, dim=1).indices[:, 1:]
        shown = gallery[:SHOWN]
        views = [augment(shown, self.recipe.views, random) for _ in range(2)]
        side = self.recipe.features.side
        enlarged = [functional.interpolate(v, side, mode="nearest") for v in views]
        columns = [shown, *enlarged, *gallery[nearest].unbind(dim=1)]
        return grid(torch.stack(columns, dim=1).flatten(0, 1), len(columns))

    def _draw(self, n: int, random: torch.Generator) -> Tensor:
        """Pictures of the stream at the side that the network looks at."""
        side = self.recipe.features.side
        return fit_input(self.stream.draw(n, random, self.device), (side, side))


def nt_xent(codes: Float[Tensor, "2n d"], temperature: float) -> tuple[Tensor, Tensor]:
    """Normalised temperature-scaled cross entropy of two views of each picture.

    Args:
        codes: Of the first views, then of the second ones in the same order.
        temperature: Divides the cosines.

    Returns:
        The mean loss, and the part of views whose nearest other view is their partner.

    Source: arXiv:2002.05709.
    """
    n = len(codes) // 2
    codes = functional.normalize(codes)
    cosines = (codes @ codes.T) / temperature
    cosines.fill_diagonal_(-math.inf)
    partner = torch.arange(2 * n, device=codes.device).roll(n)
    found = (cosines.detach().argmax(dim=1) == partner).float().mean()
    return functional.cross_entropy(cosines, partner), found

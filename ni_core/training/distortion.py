"""How far reconstructions are from their targets: the loss the encoders are trained by.

Source: pSp, arXiv:2008.00951, and e4e, arXiv:2102.02766: squared error, LPIPS, and the similarity
of features, which for faces are those of a recogniser and for anything else contrastive ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core.encoders.frozen import FrozenFeatures
from ni_core.metrics import mse
from ni_core.objectives import Coefficients, Embed
from ni_core.perceptual import Perceptual, embedded_distance
from ni_core.training.precision import mixed_precision


@dataclass(frozen=True)
class Distortion:
    """Squared error, LPIPS and, where there is a feature network, the similarity of features.

    Attributes:
        perceptual: The bundle's own distance.
        features: Frozen feature network; None leaves its term out.
        coefficients: Of the terms.
    """

    perceptual: Perceptual
    features: FrozenFeatures | None
    coefficients: Coefficients

    def measure(
        self, images: Float[Tensor, "n 3 h w"], targets: Float[Tensor, "n 3 h w"]
    ) -> dict[str, Tensor]:
        """Each term, averaged over the pairs; gradients flow to the images.

        The networks run in mixed precision, everything else in float32.
        """
        terms = {"mse": mse(images, targets).mean()}
        terms["lpips"] = _distance(self.perceptual.features, images, targets)
        if self.features is not None:
            terms["features"] = _distance(self.features.embedding, images, targets)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The terms of `measure`, each times its coefficient, added up."""
        weighted = [getattr(self.coefficients, name) * term for name, term in terms.items()]
        return torch.stack(weighted).sum()


def _distance(embed: Embed, images: Tensor, targets: Tensor) -> Tensor:
    """Mean distance in the space of a network; gradients flow to the images."""
    with mixed_precision(images.device):
        found = embed(images)
        with torch.no_grad():
            wanted = embed(targets)
    return embedded_distance(found.float(), wanted.float()).mean()

"""How far reconstructions are from their targets: the loss the encoders are trained by.

Source: pSp, arXiv:2008.00951, and e4e, arXiv:2102.02766: squared error, LPIPS, and the similarity
of features, which for faces are those of a recogniser and for anything else contrastive ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ni_core.encoders.frozen import FrozenFeatures
from ni_core.metrics import mse
from ni_core.perceptual import Perceptual


@dataclass(frozen=True)
class Coefficients:
    """Of the terms of the loss.

    Attributes:
        mse: Of the mean squared error on [-1, 1].
        lpips: Of the perceptual distance.
        features: Of 1 - cosine of the features.
    """

    mse: float = 1.0
    lpips: float = 0.1
    features: float = 0.1


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

        The networks run in bfloat16, everything else in float32.
        """
        terms = {"mse": mse(images, targets).mean()}
        found, wanted = _both(self.perceptual.features, images, targets)
        terms["lpips"] = self.perceptual.distance(found, wanted).mean()
        if self.features is not None:
            found, wanted = _both(self.features.vector, images, targets)
            terms["features"] = 1 - cosine_similarity(found, wanted).mean()
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The terms of `measure`, each times its coefficient, added up."""
        weighted = [getattr(self.coefficients, name) * term for name, term in terms.items()]
        return torch.stack(weighted).sum()


def _both(
    network: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Vectors of images with gradients and of targets without."""
    with torch.autocast(images.device.type, torch.bfloat16):
        found = network(images)
        with torch.no_grad():
            wanted = network(targets)
    return found.float(), wanted.float()

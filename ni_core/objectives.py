"""What a descent minimises: distortion terms and regularisers, one value per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ni_core.metrics import mse
from ni_core.perceptual import Perceptual


@dataclass(frozen=True)
class Objective:
    """Distance of images from fixed targets: squared error / volume and LPIPS, each weighed.

    Attributes:
        targets: RGB in [-1, 1].
        target_features: The targets' perceptual features; they never change, so they are computed
            once.
        perceptual: Whose features these are.
        mse_coefficient: Multiplies the mean squared error.
        lpips_coefficient: Multiplies LPIPS.
    """

    targets: Float[Tensor, "n 3 h w"]
    target_features: Float[Tensor, "n d"]
    perceptual: Perceptual
    mse_coefficient: float
    lpips_coefficient: float

    @classmethod
    def towards(
        cls,
        targets: Float[Tensor, "n 3 h w"],
        perceptual: Perceptual,
        *,
        mse_coefficient: float,
        lpips_coefficient: float,
    ) -> Objective:
        """Measure the targets once and return the distance from them."""
        with torch.no_grad():
            features = perceptual.features(targets)
        return cls(targets, features, perceptual, mse_coefficient, lpips_coefficient)

    def __call__(
        self, images: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"] | None]:
        """Return the loss of each image, and its LPIPS alone unless that has no coefficient."""
        loss = self.mse_coefficient * mse(images, self.targets)
        if not self.lpips_coefficient:
            return loss, None
        features = self.perceptual.features(images)
        lpips = self.perceptual.distance(features, self.target_features)
        return loss + self.lpips_coefficient * lpips, lpips.detach()

    def repeated(self, times: int) -> Objective:
        """The same distance for `times` images per target, those of one target in a row."""
        return Objective(
            self.targets.repeat_interleave(times, dim=0),
            self.target_features.repeat_interleave(times, dim=0),
            self.perceptual,
            self.mse_coefficient,
            self.lpips_coefficient,
        )


def noise_regularity(maps: Sequence[Float[Tensor, "n 1 side side"]]) -> Float[Tensor, " n"]:
    """Measure how far noise maps are from white: squared autocorrelation at every scale.

    A map is compared with itself shifted by one pixel in each direction, then halved in size, down
    to 8 pixels; maps of 4 pixels are compared once.

    Source: StyleGAN2, arXiv:1912.04958, appendix D.
    """
    loss = torch.zeros(len(maps[0]), device=maps[0].device)
    for noise in maps:
        while True:
            for axis in (2, 3):
                correlation = (noise * noise.roll(1, dims=axis)).mean(dim=(1, 2, 3))
                loss = loss + correlation.square()
            if noise.shape[-1] <= 8:
                break
            noise = avg_pool2d(noise, 2) * 2
    return loss

"""What a descent minimises: distortion terms and regularisers, one value per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ni_core.metrics import mse
from ni_core.perceptual import embedded_distance
from ni_core.views import View

Embed = Callable[[Tensor], Tensor]
"""Pictures `[n, 3, h, w]` to `[n, d]`."""


@dataclass(frozen=True)
class Coefficients:
    """Of the terms of a distance between pictures.

    Attributes:
        mse: Of the mean squared error on [-1, 1].
        lpips: Of LPIPS.
        features: Of the squared distance of embeddings, see `FrozenFeatures.embedding`.
    """

    mse: float = 1.0
    lpips: float = 0.1
    features: float = 0.0


@dataclass(frozen=True)
class Embedded:
    """Squared distance of images from fixed targets in the space of a frozen network.

    Attributes:
        embed: The network.
        targets: Where the targets are; they never change, so they are embedded once for each view.
        coefficient: Multiplies the distance.
        views: How pictures are seen before they are embedded.
        times: Images per target, those of one target in a row.
    """

    embed: Embed
    targets: Sequence[Float[Tensor, "n d"]]
    coefficient: float
    views: Sequence[View] = (View(),)
    times: int = 1

    def __call__(self, images: Float[Tensor, "n 3 h w"], view: int = 0) -> Float[Tensor, " n"]:
        """Distance of each image as seen in one of the views, not yet multiplied."""
        targets = self.targets[view]
        if self.times > 1:
            targets = targets.repeat_interleave(self.times, dim=0)
        return embedded_distance(self.embed(self.views[view].of(images)), targets)

    def repeated(self, times: int) -> Embedded:
        """The same for `times` images per target."""
        return replace(self, times=self.times * times)


@dataclass(frozen=True)
class Objective:
    """Distance of images from fixed targets: squared error / volume, LPIPS, features.

    Attributes:
        targets: RGB in [-1, 1].
        mse_coefficient: Multiplies the mean squared error.
        lpips: LPIPS; None leaves it out.
        features: Distance of another network's features, seen in several views; None leaves it
            out.
    """

    targets: Float[Tensor, "n 3 h w"]
    mse_coefficient: float
    lpips: Embedded | None
    features: Embedded | None

    @classmethod
    def towards(
        cls,
        targets: Float[Tensor, "n 3 h w"],
        coefficients: Coefficients,
        *,
        lpips: Embed,
        features: Embed | None = None,
        views: Sequence[View] = (View(),),
    ) -> Objective:
        """Measure the targets once and return the distance from them.

        Args:
            targets: RGB in [-1, 1].
            coefficients: A term whose coefficient is 0 is never computed.
            lpips: `Perceptual.features`.
            features: `FrozenFeatures.embedding`, where there is such a network.
            views: How pictures are seen where features are compared.
        """
        return cls(
            targets,
            coefficients.mse,
            _embedded(lpips, targets, coefficients.lpips, (View(),)),
            _embedded(features, targets, coefficients.features, views),
        )

    @property
    def view_count(self) -> int:
        """In how many views images are compared; losses of one view can be compared."""
        return 1 if self.features is None else len(self.features.views)

    def __call__(
        self, images: Float[Tensor, "n 3 h w"], view: int = 0
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"] | None]:
        """Return the loss of each image, and its LPIPS alone unless that has no coefficient.

        Args:
            images: RGB in [-1, 1]; differentiable.
            view: In which of the views features are compared, below `view_count`.
        """
        loss, lpips = self.mse_coefficient * mse(images, self.targets), None
        if self.lpips is not None:
            lpips = self.lpips(images)
            loss = loss + self.lpips.coefficient * lpips
        if self.features is not None:
            loss = loss + self.features.coefficient * self.features(images, view)
        return loss, None if lpips is None else lpips.detach()

    def repeated(self, times: int) -> Objective:
        """The same distance for `times` images per target, those of one target in a row."""
        return Objective(
            self.targets.repeat_interleave(times, dim=0),
            self.mse_coefficient,
            self.lpips and self.lpips.repeated(times),
            self.features and self.features.repeated(times),
        )


@torch.no_grad()
def _embedded(
    embed: Embed | None, targets: Tensor, coefficient: float, views: Sequence[View]
) -> Embedded | None:
    if embed is None or not coefficient:
        return None
    return Embedded(embed, [embed(view.of(targets)) for view in views], coefficient, views)


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

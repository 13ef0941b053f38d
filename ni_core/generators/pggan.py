"""PGGAN, the progressively grown GAN (arXiv:1710.10196): it has no W, its latent space is Z.

Weights are stored as they act. The first layer, a 4x4 convolution of a single padded pixel, is
the transposed convolution that it equals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.errors import InvalidLayersError
from ni_core.generators.base import ZOnlyNetwork
from ni_core.generators.modulated import SLOPE
from ni_core.generators.progressive import (
    PlainRGB,
    blend_previous,
    check_growth,
    convolve,
    he_weight,
)
from ni_core.generators.protocol import Noise, Prior, Space


@dataclass(frozen=True)
class PGGANConfig:
    """Architecture of one PGGAN.

    Attributes:
        resolution: Side of the image in pixels, a power of two from 4.
        z_dim: Size of z.
        channels: Feature channels at 4, 8, ..., `resolution` pixels.
        previous_rgb: Share of the previous resolution in the RGB output, below 1; 0 once grown.
    """

    resolution: int
    z_dim: int = 512
    channels: tuple[int, ...] = ()
    previous_rgb: float = 0.0

    def __post_init__(self) -> None:
        check_growth(self.resolution, self.channels, self.previous_rgb)

    @property
    def w_dim(self) -> int:
        """There is no W."""
        return 0

    @property
    def num_layers(self) -> int:
        """There is no W+."""
        return 0

    @property
    def spaces(self) -> frozenset[Space]:
        """Latent spaces of the family."""
        return frozenset({"z"})

    @property
    def num_classes(self) -> int:
        """Not conditional."""
        return 0

    @property
    def prior(self) -> Prior:
        """Law of z."""
        return "normal"


class PixelNormLayer(nn.Module):
    """Pixel normalisation, convolution, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        shape = (inputs, outputs, 4, 4) if up else (outputs, inputs, 3, 3)
        self.weight = he_weight(*shape, inputs=inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Turn x `[n, inputs, h, w]` into features, of twice the sides if it upsamples."""
        return F.leaky_relu(convolve(_pixel_norm(x), self.weight, self.bias), SLOPE)


class FirstLayer(nn.Module):
    """Pixel normalisation of z, then its features at 4 px."""

    def __init__(self, z_dim: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(z_dim, outputs, 4, 4) * math.sqrt(2 / 16 / z_dim))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, z: Tensor) -> Tensor:
        """Turn z `[n, z_dim]` into features `[n, outputs, 4, 4]`."""
        x = _pixel_norm(z) @ self.weight.flatten(1)
        x = x.unflatten(1, (-1, 4, 4)) + self.bias[:, None, None]
        return F.leaky_relu(x, SLOPE).contiguous(memory_format=torch.channels_last)


class PGGAN(ZOnlyNetwork):
    """PGGAN behind the `Generator` protocol: `synthesize` takes z.

    Attributes:
        fingerprint: Names these weights; set by whoever loads them.
    """

    family = "pggan"
    normalises_z = True

    def __init__(self, config: PGGANConfig) -> None:
        super().__init__(config)
        self.config = config
        self.first = FirstLayer(config.z_dim, config.channels[0])
        self.layers = nn.ModuleList(_make_layers(config.channels))
        self.to_rgb = PlainRGB(config.channels[-1])
        self.to_previous_rgb = PlainRGB(config.channels[-2]) if config.previous_rgb else None

    @property
    def w_avg(self) -> Tensor:
        """There is no W: an empty tensor."""
        return torch.zeros(0, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.first.weight.device

    def freeze(self) -> Self:
        """Make the generator a fixed function: evaluation mode, no gradients to its weights."""
        return self.eval().requires_grad_(False)

    def synthesize(self, w_plus: Tensor, noise: Noise = "const") -> Tensor:
        """Render.

        Args:
            w_plus: Here z, `[n, z_dim]`; only its direction counts, the network normalises it.
            noise: Ignored, there is none.

        Returns:
            RGB `[n, 3, resolution, resolution]`, about [-1, 1], float32, not clamped.
        """
        x = previous = self.first(w_plus)
        for layer in cast("list[PixelNormLayer]", list(self.layers)):
            previous = x if layer.up else previous
            x = layer(x)
        rgb: Tensor = self.to_rgb(_pixel_norm(x))
        if self.to_previous_rgb is None:
            return rgb
        previous = self.to_previous_rgb(_pixel_norm(previous))
        return blend_previous(rgb, previous, self.config.previous_rgb)

    def style_weights(self, layers: Sequence[int]) -> Tensor:
        """Weights of the first layer, for SeFa in Z.

        Args:
            layers: Empty, as there are no rows of W+.

        Returns:
            `[z_dim, columns]`, a column for each channel and pixel at 4 px.

        Raises:
            InvalidLayersError: A row is named.
        """
        if layers:
            raise InvalidLayersError(
                f"layers {list(layers)} do not exist: {self.family} has no rows of W+",
                value=list(layers),
                limit=0,
            )
        return self.first.weight.detach().flatten(1)


def _make_layers(channels: tuple[int, ...]) -> list[PixelNormLayer]:
    layers = [PixelNormLayer(channels[0], channels[0], up=False)]
    for inputs, outputs in pairwise(channels):
        layers.append(PixelNormLayer(inputs, outputs, up=True))
        layers.append(PixelNormLayer(outputs, outputs, up=False))
    return layers


def _pixel_norm(x: Tensor) -> Tensor:
    """Bring the channels of every pixel to unit second moment."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)

"""Parts of the generators that were grown resolution by resolution (arXiv:1710.10196)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.errors import BrokenBundleError


def check_growth(resolution: int, channels: tuple[int, ...], previous_rgb: float) -> None:
    """Check a configuration of a grown generator.

    Args:
        resolution: Side of the image in pixels, a power of two from 4.
        channels: Feature channels at 4, 8, ..., `resolution` pixels.
        previous_rgb: Share of the previous resolution in the RGB output, from 0 to below 1.

    Raises:
        BrokenBundleError: The three do not fit together.
    """
    if resolution != 2 << max(len(channels), 1):
        raise BrokenBundleError(
            f"{len(channels)} channel counts do not fit {resolution} px: a power of two from 4 "
            f"takes one for each resolution from 4 px on",
            value=resolution,
            limit=len(channels),
        )
    if not 0 <= previous_rgb < 1 or (previous_rgb and len(channels) == 1):
        raise BrokenBundleError(
            f"share {previous_rgb} of the previous RGB is not from 0 to below 1, or there is no "
            f"resolution before {resolution} px",
            value=previous_rgb,
            limit=1,
        )


def he_weight(*shape: int, inputs: int) -> nn.Parameter:
    """Random weights of a 3x3 convolution that reads so many channels."""
    return nn.Parameter(torch.randn(shape) * math.sqrt(2 / (9 * inputs)))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve, and double the resolution if the weight is one that does.

    Nearest-neighbour upsampling before a 3x3 convolution, and the transposed convolution that
    replaces it at high resolutions, are both one 4x4 transposed convolution of stride 2.

    Args:
        x: `[n, inputs, h, w]`.
        weight: `[outputs, inputs, 3, 3]`, or `[inputs, outputs, 4, 4]` to double the resolution.
        bias: `[outputs]`.

    Returns:
        `[n, outputs, h, w]`, or twice the sides.
    """
    if weight.shape[-1] == 4:
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
    return F.conv2d(x, weight, bias, padding=1)


class PlainRGB(nn.Module):
    """Features to RGB by a 1x1 convolution without style."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1) / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        """Turn x `[n, inputs, h, w]` into RGB `[n, 3, h, w]`."""
        return F.conv2d(x, self.weight, self.bias)


def blend_previous(rgb: Tensor, previous: Tensor, share: float) -> Tensor:
    """Blend RGB with that of half the resolution, as while a resolution fades in.

    Args:
        rgb: `[n, 3, h, w]`.
        previous: `[n, 3, h / 2, w / 2]`.
        share: Share of `previous`, 0 to 1.
    """
    return torch.lerp(rgb, F.interpolate(previous, scale_factor=2.0, mode="nearest"), share)

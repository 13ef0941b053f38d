"""Doubling the resolution and the low-pass filter that belongs to it (arXiv:1912.04958)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LINEAR = (1.0, 3.0, 3.0, 1.0)
"""The usual taps: bilinear interpolation."""


def upsample(x: Tensor, taps: tuple[float, ...] = LINEAR) -> Tensor:
    """Double the resolution: zeros between the pixels, then the filter.

    Args:
        x: `[n, channels, h, w]`.
        taps: The filter along each axis, of any sum but 0.

    Returns:
        `[n, channels, 2 h, 2 w]`, of the same mean.
    """
    if taps == LINEAR:
        # Bilinear interpolation of the zero-padded image is the same filter.
        padded = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")
        return padded[:, :, 2:-2, 2:-2]
    channels = x.shape[1]
    kernel = _kernel(taps, x).expand(channels, 1, -1, -1)
    spread = F.conv_transpose2d(x, kernel, stride=2, groups=channels)
    before = (len(taps) + 1) // 2 + 1 - len(taps)
    after = 2 - before - len(taps)
    return F.pad(spread, (before, after, before, after))


def smooth(x: Tensor, taps: tuple[float, ...] = LINEAR) -> Tensor:
    """Filter the result of a 3x3 transposed convolution of stride 2.

    Args:
        x: `[n, channels, 2 h + 1, 2 w + 1]`.
        taps: The filter along each axis, of any sum but 0.

    Returns:
        `[n, channels, 2 h, 2 w]`.
    """
    channels = x.shape[1]
    kernel = _kernel(taps, x).flip(0, 1).expand(channels, 1, -1, -1)
    if len(taps) == 4:
        return F.conv2d(x, kernel, padding=1, groups=channels)
    before, after = (len(taps) + 1) // 2 - 1, (len(taps) - 2) // 2
    return F.conv2d(F.pad(x, (before, after, before, after)), kernel, groups=channels)


def _kernel(taps: tuple[float, ...], like: Tensor) -> Tensor:
    """The filter on both axes, with the gain 4 that the inserted zeros need."""
    row = torch.tensor(taps, dtype=like.dtype, device=like.device)
    row = row * (2 / sum(taps))
    return torch.outer(row, row)

"""Layers of StyleGAN3: Fourier input, and nonlinearities that keep signals band-limited.

Source: arXiv:2106.12423. Differs: resampling filters run as convolutions with one kernel per
channel, tile by tile while no gradient is wanted; styles are normalised per sample, not over the
batch, which changes nothing but the share of an epsilon of 1e-8.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.generators.modulated import SLOPE, SQRT2, linear
from ni_core.generators.stylegan3_config import LayerGeometry

_TILE_ELEMENTS = 1 << 24
"""Numbers in a tile between the filters, 64 MiB: a bound of memory; smaller ones are not faster."""


class FourierInput(nn.Module):
    """Plane waves of fixed frequencies, moved and turned as w says.

    Args:
        channels: Number of waves.
        w_dim: Size of w.
        size: Side in pixels, with the margin.
        rate: Pixels per image.
        bandwidth: Waves above this frequency fade, to nothing at half the rate.
    """

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(
        self, channels: int, w_dim: int, *, size: int, rate: int, bandwidth: float
    ) -> None:
        super().__init__()
        self.size, self.rate, self.bandwidth = size, rate, bandwidth
        self.affine = linear(w_dim, 4, gain=0.0)
        self.affine.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.weight = nn.Parameter(torch.randn(channels, channels) / math.sqrt(channels))
        freqs = torch.randn(channels, 2)
        radii = freqs.square().sum(dim=1, keepdim=True).sqrt()
        self.register_buffer("freqs", freqs / (radii * radii.square().exp() ** 0.25) * bandwidth)
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, w: Tensor) -> Tensor:
        """Draw the waves of w `[n, w_dim]`: `[n, channels, size, size]`, channels last."""
        freqs, phases = self._moved(w)
        amplitudes = 1 - (freqs.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)
        points = torch.arange(self.size, device=w.device, dtype=w.dtype)
        points = (points + 0.5 - self.size / 2) / self.rate
        x, y = freqs[:, None, None, :, 0], freqs[:, None, None, :, 1]
        turns = points[:, None] * x + points[:, None, None] * y + phases[:, None, None]
        waves = torch.sin(turns * (2 * math.pi)) * amplitudes.clamp(0, 1)[:, None, None]
        return F.linear(waves, self.weight).permute(0, 3, 1, 2)

    def _moved(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies `[n, channels, 2]` and phases `[n, channels]` under both transforms."""
        t = self.affine(w)
        cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1)
        translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1)
        matrix = rotation.view(-1, 3, 3) @ translation.view(-1, 3, 3) @ self.transform
        phases = self.phases + (self.freqs @ matrix[:, :2, 2:]).squeeze(2)
        return self.freqs @ matrix[:, :2, :2], phases


class AliasFreeLayer(nn.Module):
    """Modulated convolution, then a nonlinearity at a higher sampling rate.

    `weight` has unit mean square per output channel (but for the image's layer, which does not
    demodulate); `input_gain` keeps the size of the layer's input near 1.

    Args:
        geometry: Sizes and factors.
        w_dim: Size of w.
        clamp: Largest magnitude after the nonlinearity; None for no limit.
    """

    up_filter: Tensor | None
    down_filter: Tensor | None
    input_gain: Tensor

    def __init__(self, geometry: LayerGeometry, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.geometry, self.clamp = geometry, clamp
        inputs, outputs, kernel = geometry.inputs, geometry.outputs, geometry.kernel
        self.affine = linear(w_dim, inputs, gain=1 / math.sqrt(w_dim), bias=1.0)
        gain = 1 / math.sqrt(inputs) if geometry.to_rgb else 1.0
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * gain)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("input_gain", torch.ones(()))
        self.register_buffer("up_filter", _smoothing(geometry.up_taps, dimensions=1))
        dimensions = 2 if geometry.radial else 1
        self.register_buffer("down_filter", _smoothing(geometry.down_taps, dimensions=dimensions))
        self._squared: Tensor | None = None

    def freeze(self) -> None:
        """Remember what depends on the weights alone; they must not change afterwards."""
        self._squared = self.weight.detach().square().sum(dim=(2, 3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Turn x `[n, inputs, h, h]` into `[n, outputs, size, size]`, by w `[n, w_dim]`."""
        style = self.affine(w)
        factor = self.input_gain if self.geometry.to_rgb else self._demodulated(style)
        x = F.conv2d(x * style[:, :, None, None], self.weight, padding=self.geometry.kernel - 1)
        # leaky_relu(a) * gain = leaky_relu(a * gain): fold the gain into the affine part.
        gain = 1.0 if self.geometry.to_rgb else SQRT2
        x = torch.addcmul((self.bias * gain)[None, :, None, None], x, factor * gain)
        return self._filtered(x)

    def _demodulated(self, style: Tensor) -> Tensor:
        """Factor `[n, outputs, 1, 1]` that gives every output channel its expected size."""
        squared = self.weight.square().sum(dim=(2, 3)) if self._squared is None else self._squared
        scale = style.square().mean(dim=1, keepdim=True)
        power = F.linear(style.square() / scale, squared) + 1e-8
        return (self.input_gain * torch.rsqrt(power * scale))[:, :, None, None]

    def _filtered(self, x: Tensor) -> Tensor:
        """Upsample, apply the nonlinearity, downsample: by tiles of rows where that is allowed."""
        up = _kernel(self.up_filter, x, gain=self.geometry.up)
        down = _kernel(self.down_filter, x).flip(2, 3)
        rows = self.geometry.size
        if not torch.is_grad_enabled():
            row = x.shape[0] * x.shape[1] * x.shape[3] * self.geometry.up * self.geometry.down
            rows = max(_TILE_ELEMENTS // row, 2 * down.shape[2])
        starts = range(0, self.geometry.size, rows)
        tiles = [self._tile(x, up, down, start, rows) for start in starts]
        return tiles[0] if len(tiles) == 1 else torch.cat(tiles, dim=2)

    def _tile(self, x: Tensor, up: Tensor, down: Tensor, start: int, rows: int) -> Tensor:
        """Rows from `start` of the result."""
        geometry = self.geometry
        stop = min(start + rows, geometry.size)
        first = start * geometry.down
        last = (stop - 1) * geometry.down + down.shape[2]
        x = _upsample(x, up, geometry.up, geometry.padding, (first, last))
        x = self._nonlinear(x)
        return F.conv2d(x, down, stride=geometry.down, groups=x.shape[1])

    def _nonlinear(self, x: Tensor) -> Tensor:
        inplace = not torch.is_grad_enabled()
        if not self.geometry.to_rgb:
            x = F.leaky_relu(x, SLOPE, inplace=inplace)
        if self.clamp is None:
            return x
        return x.clamp_(-self.clamp, self.clamp) if inplace else x.clamp(-self.clamp, self.clamp)


def _upsample(
    x: Tensor, kernel: Tensor, factor: int, padding: tuple[int, int], rows: tuple[int, int]
) -> Tensor:
    """Insert zeros, pad and filter, for some rows of the result.

    Args:
        x: `[n, channels, h, w]`.
        kernel: `[channels, 1, taps, taps]`.
        factor: Side over which each pixel is spread.
        padding: Zeros before and after each axis, in pixels of the result.
        rows: First row of the result, and the one after the last.
    """
    taps = kernel.shape[2]
    # Row i of x covers rows i * factor to i * factor + taps - 1 of the transposed convolution.
    cut = taps - 1 - padding[0]
    first, last = rows[0] + cut, rows[1] + cut
    begin = max(-(-(first - taps + 1) // factor), 0)
    end = min((last - 1) // factor + 1, x.shape[2])
    side = min(max(cut, 0), max(taps - factor - padding[1], 0))
    spread = F.conv_transpose2d(
        x[:, :, begin:end], kernel, stride=factor, padding=(0, side), groups=x.shape[1]
    )
    above = begin * factor - first
    below = last - first - above - spread.shape[2]
    return _framed(spread, (side - cut, side - (taps - factor - padding[1]), above, below))


def _framed(x: Tensor, frame: tuple[int, int, int, int]) -> Tensor:
    """Add zeros left, right, above and below, or cut where negative, without needless copies."""
    left, right, above, below = (max(-width, 0) for width in frame)
    x = x[:, :, above : x.shape[2] - below, left : x.shape[3] - right]
    zeros = [max(width, 0) for width in frame]
    return F.pad(x, zeros) if any(zeros) else x


def _smoothing(taps: int, *, dimensions: int) -> Tensor | None:
    """A filter that averages, for networks whose filters are not known yet; none for one tap."""
    return None if taps == 1 else torch.full([taps] * dimensions, float(taps) ** -dimensions)


def _kernel(taps: Tensor | None, x: Tensor, gain: int = 1) -> Tensor:
    """The filter on both axes for each channel of x, as a transposed convolution takes it."""
    if taps is None:
        return x.new_ones(x.shape[1], 1, 1, 1)
    plane = torch.outer(taps, taps) if taps.dim() == 1 else taps
    return (plane * gain**2).expand(x.shape[1], 1, -1, -1)

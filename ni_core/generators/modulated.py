"""Layers of StyleGAN2 whose weights are modulated by a style (arXiv:1912.04958)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = math.sqrt(2.0)
"""Gain that keeps the variance through a leaky ReLU, as in the paper."""

SLOPE = 0.2
"""Negative slope of every leaky ReLU."""

_HALF_LIMIT = 256.0
"""Activations are clamped to this in half precision, far from its overflow at 65504."""


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style.

    The style scales the activations and demodulation scales the result, which equals scaling the
    weights per sample but lets the whole batch share one plain convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        *,
        kernel: int,
        up: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.up = up
        self.demodulate = demodulate
        self.gain = 1 / math.sqrt(inputs * kernel * kernel)
        self.affine = linear(w_dim, inputs, gain=1 / math.sqrt(w_dim), bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * self.gain)
        self._squared: Tensor | None = None

    def freeze(self) -> None:
        """Remember what depends on the weights alone; they must not change afterwards."""
        self._squared = self.weight.detach().square().sum(dim=(2, 3))

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor | None]:
        """Convolve.

        Args:
            x: `[n, inputs, h, w]`.
            w: `[n, w_dim]`.

        Returns:
            The convolution before demodulation, and the factor that demodulates it,
            `[n, outputs, 1, 1]`, or None where there is none.
        """
        style = self.affine(w)
        x = x * style[:, :, None, None].to(x.dtype)
        x = _upsampling_conv(x, self.weight) if self.up else _conv(x, self.weight)
        if not self.demodulate:
            return x, None
        squared = self._squared
        if squared is None:
            squared = self.weight.square().sum(dim=(2, 3))
        factor = torch.rsqrt(F.linear(style.float().square(), squared.float()) + 1e-8)
        return x, factor[:, :, None, None]


class SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias and leaky ReLU."""

    noise: Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, *, up: bool, resolution: int, noise: bool
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, w_dim, kernel=3, up=up)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(())) if noise else None
        if noise:
            self.register_buffer("noise", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Turn x `[n, inputs, h, w]` into features; noise is `[n or 1, 1, h', w']`."""
        x, factor = self.conv(x, w)
        assert factor is not None
        # leaky_relu(a) * sqrt(2) = leaky_relu(a * sqrt(2)): fold the gain into the affine part.
        bias = (self.bias * SQRT2)[None, :, None, None]
        if noise is not None and self.noise_strength is not None:
            bias = bias + noise * (self.noise_strength * SQRT2)
        x = torch.addcmul(bias.to(x.dtype), x, (factor * SQRT2).to(x.dtype))
        x = F.leaky_relu(x, SLOPE, inplace=not torch.is_grad_enabled())
        return x.clamp(-_HALF_LIMIT, _HALF_LIMIT) if x.dtype == torch.float16 else x


class ToRGB(nn.Module):
    """Features to RGB by a modulated 1x1 convolution."""

    def __init__(self, inputs: int, w_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, w_dim, kernel=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Turn x `[n, inputs, h, w]` into RGB `[n, 3, h, w]`, float32."""
        rgb: Tensor = self.conv(x, w)[0].float()
        return rgb + self.bias[None, :, None, None]


def linear(inputs: int, outputs: int, *, gain: float, bias: float = 0.0) -> nn.Linear:
    """Make a fully connected layer with weights of standard deviation `gain`."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain)
    nn.init.constant_(layer.bias, bias)
    return layer


def _conv(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)


def _upsampling_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Double the resolution: transposed convolution, then the [1, 3, 3, 1] low-pass filter."""
    x = F.conv_transpose2d(x, weight.to(x.dtype).transpose(0, 1), stride=2)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def upsample(rgb: Tensor) -> Tensor:
    """Double the resolution of RGB by the [1, 3, 3, 1] filter.

    Bilinear interpolation of the zero-padded image is the same filter.
    """
    padded = F.interpolate(F.pad(rgb, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")
    return padded[:, :, 2:-2, 2:-2]

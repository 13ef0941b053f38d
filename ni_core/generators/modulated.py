"""Layers of StyleGAN2 whose weights are modulated by a style (arXiv:1912.04958)."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.generators import winograd
from ni_core.generators.resampling import LINEAR, smooth

SQRT2 = math.sqrt(2.0)
"""Gain that keeps the variance through a leaky ReLU, as in the paper."""

SLOPE = 0.2
"""Negative slope of every leaky ReLU."""

_HALF_LIMIT = 256.0
"""Activations are clamped to this in half precision, far from its overflow at 65504."""

_WINOGRAD_SIDE = 32
"""Convolutions of at least so many pixels a side ..."""

_WINOGRAD_CHANNELS = 128
"""... and so many channels gain from the fast algorithm on a CPU."""


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style.

    The style scales the activations and demodulation scales the result, which equals scaling the
    weights per sample but lets the whole batch share one plain convolution.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        w_dim: Size of w.
        kernel: Side of the kernel.
        up: Whether it doubles the resolution.
        demodulate: Whether the variance of the result is made independent of the style.
        taps: Filter of the doubling.
        fast: Whether it uses Winograd's algorithm on a CPU once it is frozen.
    """

    _squared: Tensor | None
    _transformed: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        *,
        kernel: int,
        up: bool = False,
        demodulate: bool = True,
        taps: tuple[float, ...] = LINEAR,
        fast: bool = False,
    ) -> None:
        super().__init__()
        self.up = up
        self.demodulate = demodulate
        self.taps = taps
        self.fast = fast
        self.gain = 1 / math.sqrt(inputs * kernel * kernel)
        self.affine = linear(w_dim, inputs, gain=1 / math.sqrt(w_dim), bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * self.gain)
        self.register_buffer("_squared", None, persistent=False)
        self.register_buffer("_transformed", None, persistent=False)

    def freeze(self) -> None:
        """Remember what depends on the weights alone; call it again after changing them."""
        weight = self.weight.detach()
        self._squared = weight.square().sum(dim=(2, 3))
        if self.fast and weight.device.type == "cpu":
            self._transformed = winograd.transform(weight)

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
        x = self._convolve(x)
        if not self.demodulate:
            return x, None
        squared = self._squared
        if squared is None or self.weight.requires_grad:
            squared = self.weight.square().sum(dim=(2, 3))
        factor = torch.rsqrt(F.linear(style.float().square(), squared.float()) + 1e-8)
        return x, factor[:, :, None, None]

    def _convolve(self, x: Tensor) -> Tensor:
        if self.up:
            return _upsampling_conv(x, self.weight, self.taps)
        fast = self._transformed is not None and not self.weight.requires_grad
        if fast and x.device.type == "cpu" and x.dtype == torch.float32:
            return winograd.convolve(x, cast(Tensor, self._transformed))
        return F.conv2d(x, self.weight.to(x.dtype), padding=self.weight.shape[-1] // 2)


class SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU and clamp.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        w_dim: Size of w.
        up: Whether the layer doubles the resolution.
        resolution: Side of what goes out, in pixels.
        noise: Whether spatial noise is added.
        taps: Filter of the doubling.
        clamp: Largest magnitude before `gain`; None for no limit.
        gain: Factor of what goes out.
    """

    noise: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        *,
        up: bool,
        resolution: int,
        noise: bool,
        taps: tuple[float, ...] = LINEAR,
        clamp: float | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        wide = min(inputs, outputs) >= _WINOGRAD_CHANNELS and resolution >= _WINOGRAD_SIDE
        self.conv = ModulatedConv(
            inputs, outputs, w_dim, kernel=3, up=up, taps=taps, fast=wide and not up
        )
        self.clamp = clamp
        self.gain = gain
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(())) if noise else None
        if noise:
            self.register_buffer("noise", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Turn x `[n, inputs, h, w]` into features; noise is `[n or 1, 1, h', w']`."""
        x, factor = self.conv(x, w)
        assert factor is not None
        # leaky_relu(a) * gain = leaky_relu(a * gain): fold the gain into the affine part.
        gain = SQRT2 * self.gain
        bias = (self.bias * gain)[None, None, None]
        if noise is not None and self.noise_strength is not None:
            bias = bias + noise.permute(0, 2, 3, 1) * (self.noise_strength * gain)
        bias = bias.permute(0, 3, 1, 2)  # channels last, as x: a mixture is several times slower
        x = torch.addcmul(bias.to(x.dtype), x, (factor * gain).to(x.dtype))
        x = F.leaky_relu(x, SLOPE, inplace=not torch.is_grad_enabled())
        limit = _HALF_LIMIT if self.clamp is None and x.dtype == torch.float16 else self.clamp
        return x if limit is None else x.clamp(-limit * self.gain, limit * self.gain)


class ToRGB(nn.Module):
    """Features to RGB, or to grey, by a modulated 1x1 convolution."""

    def __init__(
        self, inputs: int, w_dim: int, *, outputs: int = 3, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, w_dim, kernel=1, demodulate=False)
        self.clamp = clamp
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Turn x `[n, inputs, h, w]` into `[n, outputs, h, w]`, float32."""
        rgb: Tensor = self.conv(x, w)[0].float()
        rgb = rgb + self.bias[None, :, None, None]
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


def linear(inputs: int, outputs: int, *, gain: float, bias: float = 0.0) -> nn.Linear:
    """Make a fully connected layer with weights of standard deviation `gain`."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain)
    nn.init.constant_(layer.bias, bias)
    return layer


def _upsampling_conv(x: Tensor, weight: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Double the resolution: transposed convolution, then the low-pass filter."""
    x = F.conv_transpose2d(x, weight.to(x.dtype).transpose(0, 1), stride=2)
    return smooth(x, taps)

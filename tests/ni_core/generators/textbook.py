"""StyleGAN2 as papers and public code write it down: weights scaled per sample, explicit filters.

Nothing here is shared with our network but the names of its tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ni_core.generators.stylegan2 import StyleGAN2Config


class Textbook:
    """StyleGAN2 from the tensors of ours.

    Args:
        config: Which StyleGAN2.
        tensors: State dict of our network.
    """

    def __init__(self, config: StyleGAN2Config, tensors: Mapping[str, Tensor]) -> None:
        self.config = config
        self.tensors = tensors

    def map(self, z: Tensor, one_hot: Tensor | None = None) -> Tensor:
        """Equations of the mapping network; labels are rows `[n, num_classes]`."""
        x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
        if one_hot is not None:
            y = (
                one_hot @ self.tensors["mapping.embed.weight"].T
                + self.tensors["mapping.embed.bias"]
            )
            x = torch.cat([x, y / (y.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()], dim=1)
        for index in range(self.config.mapping_layers):
            weight = self.tensors[f"mapping.layers.{index}.weight"]
            x = x @ weight.T + self.tensors[f"mapping.layers.{index}.bias"]
            x = torch.where(x < 0, 0.2 * x, x) * math.sqrt(2)
        return x

    def synthesize(self, w_plus: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Render; noise is one map `[side, side]` for each layer, None for the stored ones."""
        x = self.tensors["constant"].repeat(len(w_plus), 1, 1, 1)
        x = self._layer(0, x, w_plus[:, 0], noise)
        image = self._colour(0, x, w_plus[:, 1]) if self.config.architecture == "skip" else None
        for block in range(1, len(self.config.channels)):
            x = self._block(block, x, w_plus, noise)
            if self.config.architecture == "skip":
                low = resample(image, self.config.filter, up=2, kernel=1)
                image = low + self._colour(block, x, w_plus[:, 2 * block + 1])
        if image is None:
            image = self._colour(0, x, w_plus[:, -1])
        return image if image.shape[1] == 3 else image.repeat(1, 3, 1, 1)

    def _block(
        self, block: int, x: Tensor, w_plus: Tensor, noise: Sequence[Tensor] | None
    ) -> Tensor:
        first, second = 2 * block - 1, 2 * block
        y = self._layer(first, x, w_plus[:, first], noise)
        if self.config.architecture != "residual":
            return self._layer(second, y, w_plus[:, second], noise)
        y = self._layer(second, y, w_plus[:, second], noise, gain=math.sqrt(0.5))
        skip = F.conv2d(x, self.tensors[f"skips.{block - 1}.weight"])
        return y + resample(skip, self.config.filter, up=2, kernel=1) * math.sqrt(0.5)

    def _layer(
        self,
        index: int,
        x: Tensor,
        w: Tensor,
        noise: Sequence[Tensor] | None,
        gain: float = 1.0,
    ) -> Tensor:
        name = f"layers.{index}"
        x = self._modulated(f"{name}.conv", x, w, up=index % 2 == 1)
        if self.config.noise:
            added = self.tensors[f"{name}.noise"] if noise is None else noise[index]
            x = x + self.tensors[f"{name}.noise_strength"] * added
        x = F.leaky_relu(x + self.tensors[f"{name}.bias"][:, None, None], 0.2)
        return self._clamp(x * math.sqrt(2) * gain, gain)

    def _colour(self, index: int, x: Tensor, w: Tensor) -> Tensor:
        x = self._modulated(f"to_rgbs.{index}.conv", x, w, demodulate=False)
        return self._clamp(x + self.tensors[f"to_rgbs.{index}.bias"][:, None, None], 1.0)

    def _clamp(self, x: Tensor, gain: float) -> Tensor:
        limit = self.config.clamp
        return x if limit is None else x.clamp(-limit * gain, limit * gain)

    def _modulated(
        self, name: str, x: Tensor, w: Tensor, *, up: bool = False, demodulate: bool = True
    ) -> Tensor:
        style = w @ self.tensors[f"{name}.affine.weight"].T + self.tensors[f"{name}.affine.bias"]
        weight = self.tensors[f"{name}.weight"] * style[:, None, :, None, None]
        if demodulate:
            weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        x = per_sample(x, weight, up=up)
        return resample(x, self.config.filter, up=1, kernel=3) if up else x


def per_sample(x: Tensor, weight: Tensor, *, up: bool) -> Tensor:
    """Convolve each sample with its own weight `[n, out, in, k, k]`: one group for each sample."""
    n, outputs, inputs, kernel, _ = weight.shape
    joined = x.reshape(1, n * inputs, *x.shape[2:])
    if up:
        weight = weight.transpose(1, 2).reshape(n * inputs, outputs, kernel, kernel)
        y = F.conv_transpose2d(joined, weight, stride=2, groups=n)
    else:
        weight = weight.reshape(n * outputs, inputs, kernel, kernel)
        y = F.conv2d(joined, weight, padding=kernel // 2, groups=n)
    return y.reshape(n, outputs, *y.shape[2:])


def resample(x: Tensor, taps: Sequence[float], *, up: int, kernel: int) -> Tensor:
    """Filter so that the side doubles in all.

    Args:
        x: `[n, channels, h, w]`.
        taps: The filter along each axis.
        up: 2 puts a zero after every pixel first; 1 filters the result of a transposed
            convolution.
        kernel: Side of that convolution, 1 for none.
    """
    n, channels, height, width = x.shape
    if up == 2:
        spread = x.new_zeros(n, channels, height, 2, width, 2)
        spread[:, :, :, 0, :, 0] = x
        x = spread.reshape(n, channels, 2 * height, 2 * width)
    row = torch.tensor(taps, dtype=x.dtype) / sum(taps)
    fir = 4 * torch.outer(row, row).flip(0, 1)
    before = (len(taps) + 1) // 2 - (kernel - 1) // 2
    after = (len(taps) - 2) // 2
    x = F.pad(x, (before, after, before, after))
    return F.conv2d(x, fir.expand(channels, 1, -1, -1), groups=channels)

"""Networks from z to pixels without styles: one operation after the other, as DCGAN (1511.06434).

The operations stand in the configuration, so that any plain stack of layers is the same family.
Batch normalisation is folded into the layer before it, or kept as a scale and a shift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ni_core.errors import BrokenBundleError
from ni_core.generators.base import ZOnlyNetwork
from ni_core.generators.protocol import Noise, Prior, Space, no_w
from ni_core.generators.sequential_shapes import Operation, output_shape


@dataclass(frozen=True)
class SequentialConfig:
    """Architecture of one network.

    Attributes:
        resolution: Side of the image in pixels.
        z_dim: Size of z.
        operations: What is done to z `[n, z_dim]`, in order; the result is an image of 1 or 3
            channels. See `OPERATIONS`.
        range: Range of the result: `signed` is [-1, 1], `unit` is [0, 1].
        prior: Law of every number of z.
    """

    resolution: int
    z_dim: int
    operations: tuple[Operation, ...]
    range: Literal["signed", "unit"] = "signed"
    prior: Prior = "normal"

    def __post_init__(self) -> None:
        if self.range not in ("signed", "unit") or self.prior not in ("normal", "uniform"):
            raise BrokenBundleError(
                f"range {self.range!r} is not signed or unit, or prior {self.prior!r} is not "
                "normal or uniform"
            )
        shape = output_shape(self.z_dim, self.operations)
        if len(shape) != 3 or shape[0] not in (1, 3) or shape[1:] != (self.resolution,) * 2:
            raise BrokenBundleError(
                f"the operations make {list(shape)}, not 1 or 3 channels of "
                f"{self.resolution} x {self.resolution} pixels",
                value=list(shape),
                limit=self.resolution,
            )

    @property
    def w_dim(self) -> int:
        """No W."""
        return 0

    @property
    def num_layers(self) -> int:
        """No W+."""
        return 0

    @property
    def num_classes(self) -> int:
        """Not conditional."""
        return 0

    @property
    def spaces(self) -> frozenset[Space]:
        """Only Z."""
        return frozenset({"z"})


class Reshape(nn.Module):
    """Rows of numbers to channels, height and width, from either order of them."""

    def __init__(self, channels: int, height: int, width: int, layout: str) -> None:
        super().__init__()
        self._shape = (channels, height, width)
        self._channels_last = layout == "HWC"

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels * height * width]` to `[n, channels, height, width]`."""
        channels, height, width = self._shape
        if self._channels_last:
            return x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        return x.reshape(-1, channels, height, width)


class Crop(nn.Module):
    """The upper left part."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self._height, self._width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c, h, w]` to `[n, c, height, width]`."""
        return x[:, :, : self._height, : self._width]


class Affine(nn.Module):
    """Scale and shift of each channel: batch normalisation in evaluation mode."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, c]` or `[n, c, h, w]`, of the same shape."""
        shape = (-1,) + (1,) * (x.dim() - 2)
        return x * self.weight.view(shape) + self.bias.view(shape)


def _upsample(factor: int, mode: str) -> nn.Module:
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"upsampling {mode!r} is not nearest or bilinear")
    return nn.Upsample(scale_factor=factor, mode=mode)


OPERATIONS: dict[str, Callable[..., nn.Module]] = {
    "linear": nn.Linear,
    "conv": nn.Conv2d,
    "conv_transpose": nn.ConvTranspose2d,
    "affine": Affine,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "reshape": Reshape,
    "crop": Crop,
    "upsample": _upsample,
}
"""Operations by name, and what makes each from its numbers:

linear (inputs, outputs), conv and conv_transpose (inputs, outputs, kernel, stride, padding),
affine (channels), leaky_relu (slope), reshape (channels, height, width, "CHW" or "HWC"),
crop (height, width), upsample (factor, "nearest" or "bilinear").
"""

WEIGHTED = ("linear", "conv", "conv_transpose", "affine")
"""Operations that have a weight and a bias."""


class Sequential(ZOnlyNetwork):
    """A stack of operations from z to an image, behind the `Generator` protocol.

    Attributes:
        fingerprint: Names these weights; set by whoever loads them.
    """

    family = "sequential"
    w_avg: Tensor

    def __init__(self, config: SequentialConfig) -> None:
        super().__init__(config)
        self.config = config
        self.layers = nn.ModuleList(OPERATIONS[name](*rest) for name, *rest in config.operations)
        self.register_buffer("w_avg", torch.empty(0), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def freeze(self) -> Sequential:
        """Make the generator a fixed function: evaluation mode, no gradients to its weights."""
        self.w_avg = torch.empty(0, device=self.device)
        return self.eval().requires_grad_(False)

    def synthesize(self, w_plus: Tensor, noise: Noise = "const") -> Tensor:
        """Render.

        Args:
            w_plus: z `[n, z_dim]`.
            noise: Ignored; there is none.

        Returns:
            RGB `[n, 3, resolution, resolution]`, [-1, 1], float32; grey is repeated.
        """
        x = w_plus
        for layer in self.layers:
            x = layer(x)
        image = x * 2 - 1 if self.config.range == "unit" else x
        return image.expand(-1, 3, -1, -1)

    def style_weights(self, layers: Sequence[int]) -> Tensor:
        """Weights of the first layer, `[z_dim, columns]`: how z enters; `layers` is ignored."""
        for layer in self.layers:
            if isinstance(layer, nn.ConvTranspose2d):
                return layer.weight.detach().flatten(1)
            if isinstance(layer, nn.Linear | nn.Conv2d):
                return layer.weight.detach().transpose(0, 1).flatten(1)
        raise no_w(self.family)

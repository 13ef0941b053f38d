"""The encoder of idinvert: a plain residual network from a picture to all rows of W+.

Source: In-Domain GAN Inversion, arXiv:2004.00049. Batch norms are folded into the layers before
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.encoders.protocol import fit_input
from ni_core.encoders.single_pass import SinglePassEncoder
from ni_core.generators import Generator

_SLOPE = 0.2
_LAST_SIDE = 4


@dataclass(frozen=True)
class IdinvertEncoderConfig:
    """Configuration of an idinvert encoder.

    Attributes:
        num_layers: Rows of W+.
        w_dim: Size of each.
        channels: Channels after the first convolution and after each residual unit.
    """

    num_layers: int
    w_dim: int
    channels: tuple[int, ...]

    @property
    def resolution(self) -> int:
        """Side of the picture in pixels: each residual unit comes after a halving."""
        side: int = _LAST_SIDE << (len(self.channels) - 1)
        return side


class Unit(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.conv1 = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, outputs, h, w]`."""
        y = F.leaky_relu(self.conv1(x), _SLOPE)
        y = F.leaky_relu(self.conv2(y), _SLOPE)
        return y + (x if self.shortcut is None else F.leaky_relu(self.shortcut(x), _SLOPE))


class IdinvertEncoder(SinglePassEncoder):
    """An idinvert encoder; satisfies `Encoder`. Its rows need no mean of W added."""

    family: str = "idinvert"

    def __init__(self, config: IdinvertEncoderConfig) -> None:
        side = config.resolution
        super().__init__(config.num_layers, config.w_dim, input_shape=(side, side), space="w+")
        self.config = config
        channels = config.channels
        self.stem = nn.Conv2d(3, channels[0], 3, padding=1)
        self.units = nn.ModuleList(Unit(inputs, outputs) for inputs, outputs in pairwise(channels))
        self.linear = nn.Linear(channels[-1] * _LAST_SIDE**2, config.num_layers * config.w_dim)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.linear.weight.device

    def guess(self, images: Tensor, generator: Generator | None) -> Tensor:
        """Rows of W+ of pictures; see `SinglePassEncoder.guess`."""
        return self._rows(fit_input(images.to(self.device), self.input_shape))

    def _rows(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.stem(x), _SLOPE)
        for unit in self.units:
            x = unit(F.avg_pool2d(x, 2))
        rows: Tensor = self.linear(x.flatten(1))
        return rows.reshape(-1, self.num_layers, self.w_dim)

"""A residual network that reads factors, expressions among them.

The plain `Regressor` reads a smile with an R² of 0.76 and the shape of a jaw hardly at all; a
residual one of the same widths reads both. Frozen, it is the feature space of a second projected
discriminator.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ni_core.encoders.residual import ResidualBlock, ResidualTrunk
from ni_core.training.portraits import FACTOR_NAMES
from ni_core.training.regressor import TAP_WIDTHS

STEM_WIDTH = 16
"""Channels at the full resolution."""


class ResidualRegressor(ResidualTrunk):
    """Residual network from pictures to standardised factors.

    Args:
        resolution: Side of the pictures in pixels, a multiple of 16.
        widths: Channels of the stem, and at 1/2, 1/4, 1/8 and 1/16 of the side.
    """

    def __init__(
        self, resolution: int = 64, widths: Sequence[int] = (STEM_WIDTH, *TAP_WIDTHS)
    ) -> None:
        super().__init__(3, widths)
        self.resolution = resolution
        self.head = nn.Linear(widths[-1] * (resolution // 16) ** 2, len(FACTOR_NAMES))

    def forward(self, pictures: Tensor) -> Tensor:
        """Standardised factors `[n, F]` of pictures `[n, 3, r, r]` in [-1, 1]."""
        read: Tensor = self.head(self.maps(pictures)[-1].flatten(1))
        return read

    def taps(self, pictures: Tensor) -> list[Tensor]:
        """Features after each stage, finest first, of pictures `[n, 3, r, r]` in [-1, 1]."""
        return self.maps(pictures)

    def freeze(self) -> Self:
        """Make it a fixed function without gradients; normalisation costs as little as can be."""
        self.eval().requires_grad_(False)
        for block in [module for module in self.modules() if isinstance(module, ResidualBlock)]:
            if isinstance(block.second_norm, nn.BatchNorm2d):
                block.first = fuse_conv_bn_eval(block.first, block.second_norm)
                block.first_norm, block.second_norm = _folded(block.first_norm), nn.Identity()
        self.norm = _folded(self.norm)
        return self


class _Affine(nn.Module):
    """A factor and an offset for each channel."""

    def __init__(self, factor: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.factor = nn.Buffer(factor[:, None, None])
        self.offset = nn.Buffer(offset[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.offset, x, self.factor)


def _folded(norm: nn.Module) -> nn.Module:
    """What a normalisation does with fixed statistics."""
    if not isinstance(norm, nn.BatchNorm2d):
        return norm
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
    return _Affine(factor, norm.bias.detach() - norm.running_mean * factor)


def load_residual_regressor(path: Path, resolution: int = 64) -> ResidualRegressor:
    """Read a `ResidualRegressor`, frozen."""
    network = ResidualRegressor(resolution)
    network.load_state_dict(load_file(path))
    return network.freeze()

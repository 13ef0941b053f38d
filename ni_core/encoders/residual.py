"""A compact residual trunk: pictures to feature maps, each half the size of the one before.

Source: identity mappings in residual networks, arXiv:1603.05027. Small enough to be trained on one
CPU core in minutes; the judge and the contrastive features are built on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ResidualTrunk(nn.Module):
    """A stem at full resolution, then stages of two residual blocks that halve the sides.

    Args:
        inputs: Channels of the picture.
        widths: Channels of the stem and of each stage.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(ResidualBlock(before, after, stride=2), ResidualBlock(after, after))
            for before, after in pairwise(widths)
        )
        self.norm: nn.Module = nn.BatchNorm2d(widths[-1])

    def maps(self, pictures: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """Feature map of each stage, the finest first; the last one normalised and rectified."""
        x, seen = self.stem(pictures), []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        return [*seen[:-1], functional.relu(self.norm(x))]

    def fold(self) -> None:
        """Join the normalisations, once their statistics are fixed, with what comes before."""
        for block in [module for module in self.modules() if isinstance(module, ResidualBlock)]:
            if isinstance(block.second_norm, nn.BatchNorm2d):
                block.first = fuse_conv_bn_eval(block.first, block.second_norm)
                block.first_norm, block.second_norm = _folded(block.first_norm), nn.Identity()
        self.norm = _folded(self.norm)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, normalised before each."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first_norm: nn.Module = nn.BatchNorm2d(inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second_norm: nn.Module = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(inputs, outputs, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`."""
        features = self.first(functional.relu(self.first_norm(x)))
        features = self.second(functional.relu(self.second_norm(features)))
        joined: Tensor = self.shortcut(x) + features
        return joined


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

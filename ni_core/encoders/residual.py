"""A compact residual trunk: pictures to feature maps, each half the size of the one before.

Source: identity mappings in residual networks, arXiv:1603.05027. Small enough to be trained on one
CPU core in minutes; the judge and the contrastive features are built on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


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

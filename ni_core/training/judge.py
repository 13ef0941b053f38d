"""The judge: a factor reader that no other network was trained with or against.

It has its own architecture, its own stream of renders and its own seed, and is used by the
commands that evaluate alone: neither the generator nor the perceptual distance ever sees it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ni_core.training.portraits import FACTOR_NAMES

STEM_WIDTH = 24
"""Channels at the full resolution."""

STAGE_WIDTHS = (48, 80, 128, 192)
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the picture's side."""


class Judge(nn.Module):
    """Residual network (arXiv:1603.05027) from pictures to standardised factors.

    Args:
        resolution: Side of the pictures in pixels, a multiple of 16.
    """

    def __init__(self, resolution: int = 64) -> None:
        super().__init__()
        self.resolution = resolution
        self.stem = nn.Conv2d(3, STEM_WIDTH, 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(_Block(inputs, outputs, stride=2), _Block(outputs, outputs))
            for inputs, outputs in pairwise((STEM_WIDTH, *STAGE_WIDTHS))
        )
        self.norm = nn.BatchNorm2d(STAGE_WIDTHS[-1])
        self.head = nn.Linear(STAGE_WIDTHS[-1] * (resolution // 16) ** 2, len(FACTOR_NAMES))

    def forward(self, pictures: Tensor) -> Tensor:
        """Standardised factors `[n, F]` of pictures `[n, 3, r, r]` in [-1, 1]."""
        read: Tensor = self.head(self._stages(pictures)[-1].flatten(1))
        return read

    def extract(self, pictures: Tensor) -> Tensor:
        """Features `[n, 320]` of pictures: the last two stages, averaged over positions."""
        return torch.cat([stage.mean(dim=(2, 3)) for stage in self._stages(pictures)[-2:]], dim=1)

    def freeze(self) -> Judge:
        """Make it a fixed function."""
        self.eval().requires_grad_(False)
        return self

    def _stages(self, pictures: Tensor) -> list[Tensor]:
        x, seen = self.stem(pictures), []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        return [*seen[:-1], functional.relu(self.norm(x))]


class _Block(nn.Module):
    """Two convolutions beside a shortcut, normalised before each."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(inputs, outputs, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(functional.relu(self.first_norm(x)))
        features = self.second(functional.relu(self.second_norm(features)))
        joined: Tensor = self.shortcut(x) + features
        return joined


def export_judge(network: Judge, path: Path) -> None:
    """Write the weights in half precision, as a bundle keeps them."""
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(weights, path)


def load_judge(path: Path, resolution: int = 64) -> Judge:
    """Read a judge of either precision, frozen, in single precision."""
    network = Judge(resolution)
    network.load_state_dict(load_file(path))
    return network.freeze()

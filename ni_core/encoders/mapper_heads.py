"""Heads of latent mappers: standardised features to numbers, through residual blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Normalisation, two linear layers with dropout between them, and a skip connection."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, width]` to the same shape."""
        hidden = self.dropout(functional.gelu(self.first(self.norm(x))))
        joined: Tensor = x + self.second(hidden)
        return joined


class Plain(nn.Module):
    """One vector through residual blocks."""

    def __init__(self, inputs: int, hidden: int, blocks: int, dropout: float, outputs: int) -> None:
        super().__init__()
        self.entry = nn.Linear(inputs, hidden)
        self.blocks = nn.Sequential(*(Block(hidden, dropout) for _ in range(blocks)))
        self.norm = nn.LayerNorm(hidden)
        self.exit = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Features `[n, inputs]` to `[n, outputs]`."""
        numbers: Tensor = self.exit(self.norm(self.blocks(self.entry(x))))
        return numbers


class MultiLevel(nn.Module):
    """Each level of the features through a linear layer of its own, then all through blocks.

    Args:
        levels: Numbers of each level.
        level: Width each is brought to.
        hidden: Width of the blocks.
        blocks: How many blocks.
        dropout: Part of the hidden numbers left out in training.
        outputs: Numbers of the result.
    """

    def __init__(
        self,
        levels: Sequence[int],
        level: int,
        hidden: int,
        blocks: int,
        dropout: float,
        outputs: int,
    ) -> None:
        super().__init__()
        self.sizes = list(levels)
        self.levels = nn.ModuleList(nn.Linear(size, level) for size in levels)
        self.plain = Plain(level * len(levels), hidden, blocks, dropout, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Levels side by side `[n, sum of levels]` to `[n, outputs]`."""
        parts = x.split(self.sizes, dim=1)
        read = [level(part) for level, part in zip(self.levels, parts, strict=True)]
        numbers: Tensor = self.plain(functional.gelu(torch.cat(read, dim=1)))
        return numbers


class LowRank(nn.Module):
    """A linear map through few numbers: what the blocks are added to."""

    def __init__(self, inputs: int, rank: int, outputs: int) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs, rank, bias=False)
        self.outer = nn.Linear(rank, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Features `[n, inputs]` to `[n, outputs]`."""
        numbers: Tensor = self.outer(self.inner(x))
        return numbers


def pooled(features: Tensor, grid: int) -> Tensor:
    """Average a map `[n, c, h, w]` to `grid` cells a side, as one row for each picture."""
    return functional.adaptive_avg_pool2d(features, grid).flatten(1)


def grid_sizes(channels: Sequence[int], grid: int) -> tuple[int, ...]:
    """Numbers that `pooled` gives of maps with so many channels."""
    return tuple(width * grid**2 for width in channels)

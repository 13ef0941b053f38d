"""Heads of the pSp encoders: feature maps to rows of W+."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

COARSE_ROWS = 3
MEDIUM_ROWS = 4
"""So many rows come from the coarsest map and the next; all others from the finest one."""

_STYLE_SLOPE = 0.01
_POOLED_SIDE = 7


class Style(nn.Module):
    """Convolutions of stride 2 down to one pixel, then a linear layer: a map to one row."""

    def __init__(self, inputs: int, w_dim: int, convolutions: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs if index == 0 else w_dim, w_dim, 3, 2, padding=1)
            for index in range(convolutions)
        )
        self.linear = nn.Linear(w_dim, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, w_dim]`."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), _STYLE_SLOPE)
        row: Tensor = self.linear(x.flatten(1))
        return row


class Pyramid(nn.Module):
    """Joins the last three maps of a body, each finer one raised to the channels of the last.

    Source: the feature pyramid of pSp, arXiv:2008.00951.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.medium = nn.Conv2d(widths[-2], widths[-1], 1)
        self.fine = nn.Conv2d(widths[-3], widths[-1], 1)

    def forward(self, maps: Sequence[Tensor], rows: int) -> list[Tensor]:
        """Return the map each row is read from."""
        coarse = maps[-1]
        medium = _raised(coarse, self.medium(maps[-2])) if rows > COARSE_ROWS else coarse
        fine = medium
        if rows > COARSE_ROWS + MEDIUM_ROWS:
            fine = _raised(medium, self.fine(maps[-3]))
        scales = [coarse] * COARSE_ROWS + [medium] * MEDIUM_ROWS
        return (scales + [fine] * max(0, rows - len(scales)))[:rows]


class Pooled(nn.Module):
    """The mean of the last map through a linear layer: one w."""

    def __init__(self, inputs: int, w_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, w_dim]`."""
        w: Tensor = self.linear(x.mean(dim=(2, 3)))
        return w


class Flattened(nn.Module):
    """The last map, averaged to 7x7 pixels, through two linear layers: all rows at once."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs * _POOLED_SIDE**2, hidden)
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, outputs]`."""
        x = F.adaptive_avg_pool2d(x, _POOLED_SIDE)
        rows: Tensor = self.linear(self.hidden(x.flatten(1)))
        return rows


def _raised(coarse: Tensor, fine: Tensor) -> Tensor:
    """Add a coarse map to a fine one."""
    size = (int(fine.shape[2]), int(fine.shape[3]))
    return F.interpolate(coarse, size, mode="bilinear", align_corners=True) + fine

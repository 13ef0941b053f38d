"""Coordinates: the head's frame, the picture's rays, and windows of them.

Coordinates: x to the right of the picture, y up, z towards the viewer; the head's
half height is about 0.8. The picture is seen orthographically.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ni_core.training.portraits.factors import column

EXTENT = 1.0
"""Half the height of the picture, in head units."""

HEAD_Y = 0.1
"""Height of the head's centre above the middle of the picture."""

BODY_TURN = 0.35
"""Part of the head's yaw that neck and shoulders follow."""

Window = tuple[slice, slice]
"""Rows and columns of a picture."""

Corner = tuple[float, float, float]

Outlines = list[list[float]]
"""Rectangles in the picture, one per picture: left, right, bottom, top. None on a GPU, where
to look at the numbers would be to wait for them."""


def outlines(rectangles: Tensor) -> Outlines:
    """Rectangles `[n, 4]` as numbers, on a CPU."""
    return rectangles.tolist() if rectangles.device.type == "cpu" else []


@dataclass(frozen=True)
class Frame:
    """A rotated coordinate frame; rows of `axes` `[n, 3, 3]` are the picture's x, y, z."""

    axes: Tensor

    def locate(self, x: Tensor, y: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frame coordinates of the points seen at `x`, `y` with the given depth."""
        a = self.axes[..., None, None]
        hx, hy, hz = (
            (depth * a[:, 2, i]).addcmul_(x, a[:, 0, i]).addcmul_(y, a[:, 1, i]) for i in range(3)
        )
        return hx, hy, hz

    def outline(self, centre: Tensor, half: Tensor) -> Tensor:
        """Where boxes appear in the picture.

        Args:
            centre: `[n, parts, 3]` in this frame.
            half: Half lengths of the boxes' sides, likewise.

        Returns:
            Smallest rectangle of each: left, right, bottom, top, `[n, parts, 4]`.
        """
        flat = self.axes[:, None, :2]
        middle = (flat * centre[:, :, None]).sum(-1)
        reach = (flat.abs() * half[:, :, None]).sum(-1)
        return torch.stack([middle - reach, middle + reach], dim=-1).flatten(2)

    def outline_of(self, low: Corner, high: Corner) -> Outlines:
        """Where one box between two corners appears, in every picture."""
        corners = constant((low, high), self.axes)
        centre, half = (corners[1] + corners[0]) / 2, (corners[1] - corners[0]) / 2
        return outlines(self.outline(centre[None, None], half[None, None])[:, 0])

    def part(self, chosen: slice) -> Frame:
        """Frames of some of the pictures."""
        return Frame(self.axes[chosen])


@dataclass(frozen=True)
class Canvas:
    """The rays of a square picture.

    Attributes:
        x: Columns `[1, side]` in head units.
        y: Rows `[side, 1]`, relative to the head.
        basis: 1, x, y, xx, xy, yy at every ray, `[6, side, side]`.
    """

    x: Tensor
    y: Tensor
    basis: Tensor

    @property
    def side(self) -> int:
        """Rays per row and column."""
        return self.x.shape[1]

    def window(self, held: Outlines) -> Window:
        """Rows and columns that hold all of these rectangles; everything without any."""
        if not held:
            return slice(0, self.side), slice(0, self.side)
        top = EXTENT - HEAD_Y
        columns = self._span(min(r[0] for r in held) + EXTENT, max(r[1] for r in held) + EXTENT)
        rows = self._span(top - max(r[3] for r in held), top - min(r[2] for r in held))
        return rows, columns

    def _span(self, low: float, high: float) -> slice:
        per_unit = self.side / (2 * EXTENT)
        start = min(max(int(low * per_unit) - 1, 0), self.side)
        return slice(start, max(min(int(high * per_unit) + 2, self.side), start))


@lru_cache(maxsize=8)
def make_canvas(side: int, device: torch.device) -> Canvas:
    """The rays of a picture of so many rows and columns."""
    steps = (torch.arange(side, device=device) + 0.5) * (2 * EXTENT / side) - EXTENT
    x, y = steps[None, :], -steps[:, None] - HEAD_Y
    terms = [torch.ones_like(x), x, y, x * x, x * y, y * y]
    return Canvas(x, y, torch.stack([term.expand(side, side) for term in terms]))


@lru_cache(maxsize=256)
def _constant(values: tuple[object, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(values, device=device, dtype=dtype)


def constant(values: tuple[object, ...], like: Tensor) -> Tensor:
    """A tensor of fixed numbers beside another; made once, so a GPU is not waited for."""
    return _constant(values, like.device, like.dtype)


def frames(factors: Tensor) -> tuple[Frame, Frame]:
    """Frames of the head and of the body, from yaw, pitch and roll."""
    yaw, pitch, roll = (factors[:, column(name)] for name in ("yaw", "pitch", "roll"))
    still = torch.zeros_like(yaw)
    return Frame(_rotation(yaw, pitch, roll)), Frame(_rotation(BODY_TURN * yaw, still, still))


def _rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Rotations head -> picture: roll first, then pitch, then yaw; `[n, 3, 3]`."""
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, dim=-1).view(-1, 3, 3)

    c, s = yaw.cos(), yaw.sin()
    turn = matrix(c, zero, s, zero, one, zero, -s, zero, c)
    c, s = pitch.cos(), pitch.sin()
    nod = matrix(one, zero, zero, zero, c, s, zero, -s, c)
    c, s = roll.cos(), roll.sin()
    lean = matrix(c, -s, zero, s, c, zero, zero, zero, one)
    return turn @ nod @ lean

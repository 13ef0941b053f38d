"""Pictures seen a little otherwise, so that a distance between them cannot be fooled.

A descent finds pictures that one network cannot tell from the target although others can: what the
network reads agrees, what another reads does not. Such a picture fools it from one point of view
only. Comparing found and wanted from other points of view as well, another one at each step, closes
that way, at the cost of one bilinear sampling.

Source: E-LPIPS, arXiv:1906.03973. Differs: a fixed list of views, so that a target is embedded once
for each and a descent can be repeated; views of position only; every image of a batch is seen
alike.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

_SHIFT = 1 / 16
"""Most that a view is shifted by in each direction, as a part of the picture's side."""

_DEGREES = 12.0
"""Most that a view is turned by."""

_ZOOM = 0.85, 1.2
"""Least and most that a view is enlarged by."""


@dataclass(frozen=True)
class View:
    """How a picture is seen; the default is as it is.

    Attributes:
        mirrored: Whether left and right change places, before all else.
        right: How far to the right the view's centre lies, as a part of the width.
        down: How far down it lies, as a part of the height.
        degrees: The angle by which the view is turned around its centre, clockwise.
        zoom: How much the picture is enlarged.
    """

    mirrored: bool = False
    right: float = 0.0
    down: float = 0.0
    degrees: float = 0.0
    zoom: float = 1.0

    def of(self, pictures: Tensor) -> Tensor:
        """See pictures `[n, c, h, w]` so; beyond their edge they go on as they are there."""
        if self == View():
            return pictures
        cosine = math.cos(math.radians(self.degrees)) / self.zoom
        sine = math.sin(math.radians(self.degrees)) / self.zoom
        sign = -1 if self.mirrored else 1
        theta = pictures.new_tensor(
            [[sign * cosine, -sign * sine, 2 * sign * self.right], [sine, cosine, 2 * self.down]]
        )
        grid = affine_grid(
            theta.expand(len(pictures), -1, -1), list(pictures.shape), align_corners=False
        )
        seen: Tensor = grid_sample(
            pictures, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return seen


def first_views(n: int) -> list[View]:
    """The first `n` of a fixed sequence: the picture as it is, then views drawn at random."""
    drawn = random.Random(0)
    return [View()] + [
        View(
            mirrored=index % 2 == 1,
            right=drawn.uniform(-_SHIFT, _SHIFT),
            down=drawn.uniform(-_SHIFT, _SHIFT),
            degrees=drawn.uniform(-_DEGREES, _DEGREES),
            zoom=drawn.uniform(*_ZOOM),
        )
        for index in range(1, n)
    ]

"""Random masks: which part of a picture is known."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

BLOB_CELLS = 5
"""Random numbers a side of which blobs are made."""


def random_masks(n: int, side: int, random: torch.Generator) -> Bool[Tensor, "n 1 side side"]:
    """Draw masks, a third each: a hidden rectangle, a hidden half, hidden blobs.

    Args:
        n: How many.
        side: Of the pictures in pixels.
        random: On the CPU; the same one gives the same masks.

    Returns:
        True where a pixel is known.
    """
    kinds = torch.stack(
        [rectangles(n, side, random), halves(n, side, random), blobs(n, side, random)]
    )
    drawn = torch.randint(len(kinds), (n,), generator=random)
    return kinds[drawn, torch.arange(n)]


def rectangles(n: int, side: int, random: torch.Generator) -> Tensor:
    """Hide a rectangle of a fifth to two thirds of each side."""
    sizes = (torch.empty(2, n, 1).uniform_(0.2, 0.67, generator=random) * side).round()
    corners = (torch.rand(2, n, 1, generator=random) * (side - sizes + 1)).floor()
    offsets = torch.arange(side) - corners
    inside = (offsets >= 0) & (offsets < sizes)
    return ~(inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def halves(n: int, side: int, random: torch.Generator) -> Tensor:
    """Hide what lies beyond a straight line near the middle: left, right, above or below."""
    line = torch.empty(n, 1).uniform_(0.4, 0.6, generator=random) * side
    beyond = torch.arange(side) >= line
    reverse = torch.rand(n, 1, generator=random) < 0.5
    upright = torch.rand(n, generator=random) < 0.5
    known = beyond ^ reverse
    rows = known[:, None, :].expand(-1, side, -1)
    return torch.where(upright[:, None, None], rows, rows.transpose(1, 2))[:, None]


def blobs(n: int, side: int, random: torch.Generator) -> Tensor:
    """Hide free forms that cover a fifth to three fifths of the picture."""
    cells = torch.rand(n, 1, BLOB_CELLS, BLOB_CELLS, generator=random)
    smooth = functional.interpolate(cells, (side, side), mode="bicubic", align_corners=False)
    part = torch.empty(n, 1).uniform_(0.2, 0.6, generator=random)
    ordered = smooth.flatten(1).sort(dim=1).values
    edge = ordered.gather(1, (part * (side**2 - 1)).long())
    return smooth >= edge[:, :, None, None]


def right_half(side: int) -> Bool[Tensor, "1 side side"]:
    """The mask of the reports: the right half is unknown."""
    return (torch.arange(side) < math.ceil(side / 2)).expand(1, side, side)


def hide(
    images: Float[Tensor, "n 3 h w"], known: Bool[Tensor, "*n 1 h w"]
) -> Float[Tensor, "n 3 h w"]:
    """Make everything that is not known grey, as latent mappers expect it."""
    return images * known.to(images)

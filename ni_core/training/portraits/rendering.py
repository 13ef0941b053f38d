"""From factors to pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ni_core.training.portraits.geometry import frames, grid, surfaces
from ni_core.training.portraits.painting import albedo, curl_hair, cut_hair
from ni_core.training.portraits.shading import FLOOR, background, shade, tone

SUPERSAMPLING = 2
"""Rays per pixel and axis."""

CHUNK_RAYS = 1 << 16
"""Rays worked on at once on a CPU, so that intermediate results stay in its cache."""


@torch.no_grad()
def render(factors: Tensor, resolution: int) -> Tensor:
    """Render portraits.

    Args:
        factors: `[n, F]`, columns as in `FACTORS`; pictures are made on its device.
        resolution: Side of the picture in pixels, an even number.

    Returns:
        RGB pictures `[n, 3, resolution, resolution]` in [-1, 1]. A picture depends on
        its own row only.
    """
    side = resolution * SUPERSAMPLING
    chunk = max(1, CHUNK_RAYS // side**2) if factors.device.type == "cpu" else 256
    return torch.cat([_render_chunk(part, side) for part in factors.split(chunk)])


def _render_chunk(factors: Tensor, side: int) -> Tensor:
    x, y = grid(side, factors.device)
    head, _ = frames(factors)
    surface = surfaces(factors, x, y)
    hair_depth = cut_hair(factors, surface, head, x, y)
    solid = torch.maximum(surface.skin, surface.clothes)
    bulk = torch.maximum(solid, hair_depth)
    hair = hair_depth >= solid
    point = head.locate(x, y, bulk)
    depth = torch.where(hair, bulk + curl_hair(factors, point), bulk)
    clothes = (surface.clothes >= surface.skin) & ~hair
    colour = albedo(factors, point, hair, clothes)
    lit = shade(factors, depth, bulk, colour, hair)
    picture = torch.where((bulk > FLOOR)[:, None], lit, background(factors, x, y))
    return functional.avg_pool2d(tone(picture), SUPERSAMPLING).mul_(2).sub_(1)

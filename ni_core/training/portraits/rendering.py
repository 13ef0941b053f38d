"""From factors to pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ni_core.training.portraits.geometry import Canvas, Frame, Window, frames, make_canvas
from ni_core.training.portraits.painting import LAYERS, albedo, curl_hair, cut_hair
from ni_core.training.portraits.shading import FLOOR, background, shade, tone
from ni_core.training.portraits.surfaces import Shapes, shapes, surfaces

SUPERSAMPLING = 2
"""Rays per pixel and axis."""

CHUNK_RAYS = 1 << 16
"""Rays worked on at once on a CPU, so that intermediate results stay in its cache."""

GPU_PICTURES = 256
"""Pictures worked on at once on a GPU."""


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
    canvas = make_canvas(resolution * SUPERSAMPLING, factors.device)
    head, body = frames(factors)
    solid = shapes(factors, head, body)
    layers = [head.outline_of(low, high) for *_, low, high in LAYERS]
    on_cpu = factors.device.type == "cpu"
    chunk = max(1, CHUNK_RAYS // canvas.side**2) if on_cpu else GPU_PICTURES
    pictures = []
    for start in range(0, len(factors), chunk):
        part = slice(start, start + chunk)
        windows = [canvas.window(outlines[part]) for outlines in layers]
        pictures.append(_draw(factors[part], head.part(part), solid.part(part), windows, canvas))
    return torch.cat(pictures)


def _draw(
    factors: Tensor, head: Frame, solid: Shapes, windows: list[Window], canvas: Canvas
) -> Tensor:
    x, y = canvas.x, canvas.y
    surface = surfaces(solid, canvas)
    hair_depth = cut_hair(factors, surface, head, x, y)
    body = torch.maximum(surface.skin, surface.clothes)
    bulk = torch.maximum(body, hair_depth)
    hair = hair_depth >= body
    point = head.locate(x, y, bulk)
    depth = torch.where(hair, bulk + curl_hair(factors, point), bulk)
    clothes = (surface.clothes >= surface.skin) & ~hair
    colour = albedo(factors, point, hair, clothes, windows)
    lit = shade(factors, depth, bulk, colour, hair)
    picture = torch.where((bulk > FLOOR)[:, None], lit, background(factors, x, y))
    return functional.avg_pool2d(tone(picture), SUPERSAMPLING).mul_(-2).add_(1)

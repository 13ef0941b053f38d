"""Pictures of another domain than portraits: still lifes of balls on a floor.

They are lit, shadowed and toned as the portraits are, and share nothing else with them. So a
method that gives something portrait-like for them has left the picture, and one that gives the
balls has left what the generator knows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ni_core.training.portraits.geometry import Canvas, make_canvas
from ni_core.training.portraits.rendering import CHUNK_RAYS, SUPERSAMPLING
from ni_core.training.portraits.shading import FLOOR, background, shade, tone
from ni_core.training.portraits.surfaces import BEHIND

BALLS = 5
"""Balls of a picture; small ones may hide behind large ones."""

TILT = math.radians(35)
"""How far the floor is seen from above."""

HORIZON = (-0.35, 0.25)
"""Lowest and highest edge between floor and wall, in the renderer's units."""

RADIUS = (0.15, 0.5)
"""Smallest and largest ball."""

STRIPED = 0.5
"""Part of the balls that have stripes."""

_BALL_NUMBERS = 7
_SCENE_NUMBERS = 2


class _Scene(NamedTuple):
    """Balls `[n, BALLS, 1, 1]` each, and of every picture `[n, 1, 1]` the floor."""

    x: Tensor
    y: Tensor
    radius: Tensor
    hue: Tensor
    stripe_hue: Tensor
    stripes: Tensor
    horizon: Tensor
    floor_hue: Tensor


@torch.no_grad()
def render_still_lifes(light: Tensor, resolution: int, *, seed: int) -> Tensor:
    """Render still lifes.

    Args:
        light: Factors of portraits `[n, F]`; light and wall are taken from them. Pictures are made
            on their device.
        resolution: Side of the pictures in pixels, an even number.
        seed: Of balls and floors; picture i depends on the seed, i and row i alone.

    Returns:
        RGB pictures `[n, 3, resolution, resolution]` in [-1, 1].
    """
    canvas = make_canvas(resolution * SUPERSAMPLING, light.device)
    scene = _place(len(light), seed, light.device)
    chunk = max(1, CHUNK_RAYS // canvas.side**2)
    parts = [slice(start, start + chunk) for start in range(0, len(light), chunk)]
    pictures = [
        _draw(light[part], _Scene(*(values[part] for values in scene)), canvas) for part in parts
    ]
    return torch.cat(pictures)


def _draw(light: Tensor, scene: _Scene, canvas: Canvas) -> Tensor:
    depth, ball = _depths(scene, canvas)
    colour, glossy = _paint(scene, canvas, ball)
    lit = shade(light, depth, depth, colour, glossy)
    wall = background(light, canvas.x, canvas.y)
    picture = torch.where((depth > FLOOR)[:, None], lit, wall)
    return functional.avg_pool2d(tone(picture), SUPERSAMPLING).mul_(-2).add_(1)


def _place(n: int, seed: int, device: torch.device) -> _Scene:
    count = BALLS * _BALL_NUMBERS + _SCENE_NUMBERS
    rows = [np.random.Generator(np.random.Philox(key=[seed, i])).random(count) for i in range(n)]
    uniform = torch.from_numpy(np.stack(rows)).float().to(device)
    scene, balls = uniform[:, :_SCENE_NUMBERS, None, None], uniform[:, _SCENE_NUMBERS:]
    balls = balls.reshape(n, BALLS, _BALL_NUMBERS)[..., None, None]
    horizon = HORIZON[0] + (HORIZON[1] - HORIZON[0]) * scene[:, 0]
    striped = (balls[:, :, 5] < STRIPED).float()
    return _Scene(
        x=1.8 * balls[:, :, 0] - 0.9,
        y=horizon[:, None] - 0.1 - 0.7 * balls[:, :, 1],
        radius=RADIUS[0] + (RADIUS[1] - RADIUS[0]) * balls[:, :, 2].square(),
        hue=balls[:, :, 3],
        stripe_hue=balls[:, :, 4],
        stripes=striped * (8 + 14 * balls[:, :, 6]),
        horizon=horizon,
        floor_hue=scene[:, 1],
    )


def _depths(scene: _Scene, canvas: Canvas) -> tuple[Tensor, Tensor]:
    """Depth of what is seen `[n, h, w]`, and which ball it is; `BALLS` where none."""
    slope = 1 / math.tan(TILT)
    floor = FLOOR + slope * (scene.horizon - canvas.y)
    floor = torch.where(canvas.y < scene.horizon, floor, BEHIND).expand(-1, -1, canvas.side)
    rest = FLOOR + slope * (scene.horizon[:, None] - scene.y) + scene.radius / math.sin(TILT)
    root = scene.radius**2 - (canvas.x - scene.x) ** 2 - (canvas.y - scene.y) ** 2
    balls = torch.where(root > 0, rest + root.clamp(min=0).sqrt(), BEHIND)
    depth, seen = torch.cat([balls, floor[:, None]], dim=1).max(dim=1)
    return depth, seen


def _paint(scene: _Scene, canvas: Canvas, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Colour of what is seen `[n, 3, h, w]`, and where it shines `[n, h, w]`."""
    waves = (scene.stripes * (canvas.x - scene.x + canvas.y - scene.y)).sin()
    hue = torch.where((waves > 0.2)[:, :, None], _hue(scene.stripe_hue), _hue(scene.hue))
    floor = 0.6 * _hue(scene.floor_hue)[:, None].expand_as(hue[:, :1]) + 0.2
    layers = torch.cat([hue, floor], dim=1)
    index = seen[:, None, None].expand(-1, 1, 3, -1, -1)
    return layers.gather(1, index)[:, 0], seen < BALLS


def _hue(angle: Tensor) -> Tensor:
    """Colours `[..., 3, 1, 1]` in [0, 1] of angles `[..., 1, 1]`; 0 and 1 are the same."""
    shift = torch.tensor([0.0, 1 / 3, 2 / 3], device=angle.device)[:, None, None]
    return 0.5 + 0.42 * (2 * math.pi * (angle[..., None, :, :] - shift)).cos()

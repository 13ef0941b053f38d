"""Light: normals from the depth map, a soft shadow, ambient occlusion, a tone curve."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ni_core.training.portraits.factors import column
from ni_core.training.portraits.geometry import EXTENT, constant

SHADOW_STEPS = (0.05, 0.10, 0.17, 0.26, 0.38, 0.54)
"""Distances towards the light at which the shadow ray looks at the depth map, head units."""

FLOOR = -0.9
"""Depth of the background for occlusion, so that it does not swallow edges."""


def normals(depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit normals (x, y, z), each `[n, h, w]`, of the depth map.

    Of the two one-sided differences the smaller is used: silhouettes keep the slope of
    the surface in front.
    """
    per_unit = depth.shape[-1] / (2 * EXTENT)
    right = functional.pad(depth[..., 1:] - depth[..., :-1], (1, 1), mode="replicate")
    down = functional.pad((depth[:, 1:] - depth[:, :-1]).mT, (1, 1), mode="replicate").mT
    dx = _smaller(right[..., :-1], right[..., 1:]).mul_(-per_unit)
    dy = _smaller(down[:, :-1], down[:, 1:]).mul_(per_unit)
    length = (dx * dx).addcmul_(dy, dy).add_(1).rsqrt_()
    return dx.mul_(length), dy.mul_(length), length


def _smaller(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(a.abs() < b.abs(), a, b)


def light_direction(factors: Tensor) -> Tensor:
    """Unit vectors `[n, 3]` towards the key light."""
    azimuth = factors[:, column("light_azimuth")]
    elevation = factors[:, column("light_elevation")]
    flat = elevation.cos()
    return torch.stack([azimuth.sin() * flat, elevation.sin(), azimuth.cos() * flat], dim=1)


def shadow(depth: Tensor, light: Tensor) -> Tensor:
    """How much of the key light arrives, 0 to 1, `[n, h, w]`, marched at half resolution."""
    low = functional.avg_pool2d(depth.clamp(min=FLOOR)[:, None], 2)
    n, _, height, width = low.shape
    identity = torch.eye(2, 3, device=depth.device).expand(n, 2, 3)
    base = functional.affine_grid(identity, [n, 1, height, width], align_corners=False)
    lit = torch.ones_like(low)
    for distance in SHADOW_STEPS:
        shift = light[:, :2] * constant((1.0, -1.0), light) * (distance / EXTENT)
        seen = functional.grid_sample(
            low, base + shift[:, None, None], padding_mode="border", align_corners=False
        )
        clear = low + (light[:, 2] * distance + 0.03)[:, None, None, None] - seen
        lit = torch.minimum(lit, clear.mul_(4 / (distance + 0.15)).add_(0.55).clamp_(0, 1))
    return _enlarge(lit, depth)


def occlusion(depth: Tensor) -> Tensor:
    """Ambient occlusion, 0 to 1, `[n, h, w]`: darker where the surroundings stand nearer."""
    low = functional.avg_pool2d(depth.clamp(min=FLOOR)[:, None], 2)
    cover = torch.zeros_like(low)
    for size, amount in ((low.shape[-1] // 16, 2.4), (low.shape[-1] // 8, 1.4)):
        coarse = functional.avg_pool2d(low, size)
        coarse = functional.avg_pool2d(coarse, 3, 1, 1, count_include_pad=False)
        around = functional.interpolate(coarse, low.shape[2:], mode="bilinear")
        cover.add_(around.sub_(low).clamp_(min=0), alpha=amount)
    return _enlarge(cover.neg_().exp_(), depth)


def _enlarge(low: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(low, like.shape[1:], mode="bilinear", align_corners=False)[:, 0]


def shade(factors: Tensor, depth: Tensor, bulk: Tensor, albedo: Tensor, hair: Tensor) -> Tensor:
    """Light the visible surface: linear colours `[n, 3, h, w]`, >= 0.

    Args:
        factors: `[n, F]`.
        depth: Visible depth `[n, h, w]`.
        bulk: The same without small waves, for shadow and occlusion.
        albedo: Colours `[n, 3, h, w]`.
        hair: Mask of hair, bool `[n, h, w]`.
    """
    light = light_direction(factors)
    nx, ny, nz = normals(depth)
    lx, ly, lz = (light[:, i, None, None] for i in range(3))
    facing = nx * lx + ny * ly + nz * lz
    lit = ((facing + 0.12) / 1.12).clamp_(min=0).mul_(shadow(bulk, light))
    contrast = factors[:, column("light_contrast"), None, None]
    warmth = factors[:, column("light_warmth"), None]
    key = 1 + warmth * constant((0.16, 0.0, -0.22), warmth)
    fill = (1 - 0.5 * warmth * constant((0.16, 0.0, -0.22), warmth))[:, :, None, None]
    sky = (ny * 0.22 + 0.78).mul_(occlusion(bulk)).mul_(0.64 - 0.36 * contrast)
    half = functional.normalize(light + constant((0.0, 0.0, 1.0), light), dim=1)
    gloss = nx * half[:, 0, None, None] + ny * half[:, 1, None, None] + nz * half[:, 2, None, None]
    gloss = gloss.clamp_(min=0).pow_(24).mul_(lit).mul_(torch.where(hair, 0.22, 0.09))
    strength = lit.mul_(0.62 + 0.46 * contrast)
    arriving = strength[:, None] * key[:, :, None, None] + sky[:, None] * fill
    return arriving.mul_(albedo).add_(gloss[:, None])


def background(factors: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A softly graded wall `[n, 3, h, w]`, lighter on the side the light comes from."""
    red, blue, bright = (
        factors[:, column(f"background_{name}"), None] for name in ("red", "blue", "light")
    )
    tint = red * constant((0.16, -0.16, 0.12), red) + blue * constant((-0.16, -0.06, 0.22), red)
    colour = (0.14 + 0.62 * bright) * (1 + tint * 1.5)
    side = factors[:, column("light_azimuth"), None, None].sin()
    grade = 1 + 0.10 * y + 0.12 * side * x - 0.13 * (x * x + y * y)
    return (colour[:, :, None, None] * grade[:, None]).clamp_(min=0)


def tone(colour: Tensor) -> Tensor:
    """Tone curve: linear in the shadows, rolling off towards 1; overwrites its input.

    Returns:
        One minus the brightness, so that what follows can be done on fewer pixels.
    """
    return colour.mul_(-1.7).exp_()

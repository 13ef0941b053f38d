"""The head as ellipsoids whose front depth has a closed form per pixel.

Coordinates: x to the right of the picture, y up, z towards the viewer; the head's
half height is about 0.8. Seen orthographically, the front of an ellipsoid is
`-B/A + sqrt(D)/A`: a plane plus the root of a quadratic in x and y. Planes and
quadratics of all parts are two matrix products over the pixel grid; neighbouring
parts are joined by a smooth maximum of their depths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ni_core.training.portraits.factors import column

EXTENT = 1.0
"""Half the height of the picture, in head units."""

HEAD_Y = 0.1
"""Height of the head's centre above the middle of the picture."""

BEHIND = -4.0
"""Depth where nothing is hit: behind everything."""

BODY_TURN = 0.35
"""Part of the head's yaw that neck and shoulders follow."""

STEEP, GENTLE = 5.0, 1.6
"""How much steeper a part's depth falls outside its outline than it rises inside:
apart from its neighbours, or melting into them."""

Number = Tensor | float
Ellipsoid = tuple[tuple[Number, Number, Number], tuple[Number, Number, Number]]


@dataclass(frozen=True)
class Surfaces:
    """Front depths of the three materials, each `[n, h, w]`; `BEHIND` where absent."""

    skin: Tensor
    hair: Tensor
    clothes: Tensor


@dataclass(frozen=True)
class _Fronts:
    """Front depths `[n, parts, h, w]` of some ellipsoids and where any is hit `[n, h, w]`."""

    depth: Tensor
    hit: Tensor


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


def grid(resolution: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixel centres in head units: x `[1, r]` and y `[r, 1]`, y relative to the head."""
    steps = (torch.arange(resolution, device=device) + 0.5) * (2 * EXTENT / resolution) - EXTENT
    return steps[None, :], -steps[:, None] - HEAD_Y


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


def face_scale(factors: Tensor) -> Tensor:
    """Width of the head relative to the mean head, `[n]`."""
    return 1 + 0.13 * factors[:, column("face_width")]


def surfaces(factors: Tensor, x: Tensor, y: Tensor) -> Surfaces:
    """Front depths of skin, hair and clothes before hair is cut to its hairline.

    Args:
        factors: `[n, F]`.
        x: Pixel columns `[1, w]`, from `grid`.
        y: Pixel rows `[h, 1]`, from `grid`.
    """
    head, body = frames(factors)
    broad = _fronts(_broad_parts(factors), head, x, y, fall=GENTLE)
    fine = _fronts(_fine_parts(factors), head, x, y)
    neck = _fronts(_neck_parts(), body, x, y)
    skin = torch.cat([_smooth_max(broad.depth, 0.065)[:, None], fine.depth, neck.depth], dim=1)
    hair = _fronts(_hair_parts(factors), head, x, y)
    clothes = _fronts(_clothes_parts(), body, x, y)
    return Surfaces(
        skin=_smooth_max(skin, 0.022).masked_fill_(~(broad.hit | fine.hit | neck.hit), BEHIND),
        hair=_smooth_max(hair.depth, 0.05).masked_fill_(~hair.hit, BEHIND),
        clothes=_smooth_max(clothes.depth, 0.05).masked_fill_(~clothes.hit, BEHIND),
    )


def _broad_parts(factors: Tensor) -> list[Ellipsoid]:
    """Skull, face, jaw, chin, brow ridge, cheeks and the bulk of a beard."""
    wide, drop = face_scale(factors), _jaw_drop(factors)
    jaw, smile = factors[:, column("jaw")], factors[:, column("smile")]
    beard = factors[:, column("beard")]
    parts: list[Ellipsoid] = [
        ((0.0, 0.18, -0.10), (0.55 * wide, 0.58, 0.61)),
        ((0.0, -0.10, 0.06), (0.49 * wide, 0.56, 0.45)),
        ((0.0, -0.36 - drop, 0.09), ((0.35 + 0.075 * jaw) * wide, 0.35, 0.36)),
        ((0.0, -0.58 - drop, 0.22), ((0.20 + 0.09 * jaw) * wide, 0.14, 0.17)),
        ((0.0, 0.19, 0.36), (0.36 * wide, 0.085, 0.15)),
        ((0.0, -0.58 - drop, 0.18), (0.30 * wide, 0.10 + 0.16 * beard, 0.22 + 0.12 * beard)),
    ]
    for side in (-1.0, 1.0):
        parts.append(((side * 0.27 * wide, -0.15 + 0.03 * smile, 0.22), (0.18, 0.17, 0.16)))
    return parts


def _fine_parts(factors: Tensor) -> list[Ellipsoid]:
    """Nose, lips, lids and ears."""
    wide, drop = face_scale(factors), _jaw_drop(factors)
    parts: list[Ellipsoid] = [
        ((0.0, 0.00, 0.54), (0.055, 0.20, 0.09)),
        ((0.0, -0.165, 0.60), (0.075, 0.075, 0.13)),
        ((0.0, -0.345, 0.46), (0.17, 0.045, 0.085)),
        ((0.0, -0.445 - drop, 0.45), (0.14, 0.05, 0.085)),
    ]
    for side in (-1.0, 1.0):
        parts += [
            ((side * 0.21 * wide, 0.04, 0.41), (0.13, 0.085, 0.09)),
            ((side * 0.07, -0.19, 0.54), (0.05, 0.05, 0.08)),
            ((side * 0.56 * wide, -0.02, -0.04), (0.07, 0.17, 0.11)),
        ]
    return parts


def _jaw_drop(factors: Tensor) -> Tensor:
    return 0.07 * factors[:, column("mouth_open")]


def _neck_parts() -> list[Ellipsoid]:
    return [((0.0, -0.85, -0.14), (0.27, 0.65, 0.27)), ((0.0, -1.28, -0.12), (0.62, 0.42, 0.33))]


def _clothes_parts() -> list[Ellipsoid]:
    return [
        ((0.0, -1.42, -0.14), (0.98, 0.52, 0.42)),
        ((-0.55, -1.22, -0.14), (0.34, 0.30, 0.32)),
        ((0.55, -1.22, -0.14), (0.34, 0.30, 0.32)),
    ]


def _hair_parts(factors: Tensor) -> list[Ellipsoid]:
    """Cap, mass at the back and a curtain on either side, growing with the length."""
    wide, volume = face_scale(factors), factors[:, column("hair_volume")]
    length = factors[:, column("hair_length")]
    full = 0.03 + 0.15 * volume
    grown = ((length - 0.15) / 0.35).clamp(0, 1)
    parts: list[Ellipsoid] = [
        ((0.0, 0.22, -0.10), (0.57 * wide + full, 0.58 + full, 0.63 + full)),
        (
            (0.0, 0.05 - 0.55 * length, -0.30),
            (0.46 * wide + (0.06 + full) * grown, 0.40 + 0.55 * length, 0.26 + full),
        ),
    ]
    for side in (-1.0, 1.0):
        centre = (side * (0.44 * wide + 0.6 * full), -0.02 - 0.50 * length, -0.02)
        axes = (0.08 + 0.10 * grown + 0.3 * full, 0.30 + 0.42 * length, 0.10 + 0.16 * grown)
        parts.append((centre, axes))
    return parts


def _fronts(
    parts: list[Ellipsoid], frame: Frame, x: Tensor, y: Tensor, fall: float = STEEP
) -> _Fronts:
    """Front depth of each ellipsoid at each pixel.

    Past its outline a part's depth goes on falling (the root changes its sign), so
    that smooth maxima have no edges there.
    """
    plane, root = _coefficients(_stack(parts, 0, frame), _stack(parts, 1, frame), frame)
    height, width = y.shape[0], x.shape[1]
    x, y = x.expand(height, width).reshape(-1), y.expand(height, width).reshape(-1)
    basis = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])
    square = root @ basis
    hit = (square.amax(dim=1) > 0).view(-1, height, width)
    square = torch.minimum(square, square * fall**2)
    depth = square.abs().sqrt_().copysign_(square).add_(plane @ basis[:3])
    return _Fronts(depth.view(*depth.shape[:2], height, width), hit)


def _stack(parts: list[Ellipsoid], which: int, frame: Frame) -> Tensor:
    """Centres (which = 0) or half axes (which = 1) of the parts, `[n, parts, 3]`."""
    like = frame.axes[:, 0, 0]
    rows = [
        torch.stack([torch.as_tensor(v).to(like).expand_as(like) for v in part[which]], dim=-1)
        for part in parts
    ]
    return torch.stack(rows, dim=1)


def _coefficients(centres: Tensor, axes: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
    """Coefficients of depth = plane + sqrt(root).

    Returns:
        The plane's `[n, parts, 3]` over 1, x, y and the root's `[n, parts, 6]` over 1, x, y,
        xx, xy, yy.
    """
    right, up, front = (frame.axes[:, None, i] / axes for i in range(3))
    rows = torch.stack([-centres / axes, right, up], dim=2)
    along = (rows * front[:, :, None]).sum(-1)
    a = (front * front).sum(-1)[..., None]
    form = along[..., :, None] * along[..., None, :] - a[..., None] * (rows @ rows.mT)
    form[..., 0, 0] += a[..., 0]
    form = form / (a * a)[..., None]
    terms = ((0, 0, 1), (0, 1, 2), (0, 2, 2), (1, 1, 1), (1, 2, 2), (2, 2, 1))
    return -along / a, torch.stack([form[..., i, j] * times for i, j, times in terms], dim=-1)


def _smooth_max(depths: Tensor, softness: float) -> Tensor:
    """Smooth maximum over the parts, `[n, parts, h, w]` -> `[n, h, w]`; overwrites its input."""
    top = depths.amax(dim=1)
    excess = depths.sub_(top[:, None]).div_(softness).clamp_(min=-30).exp_().sum(dim=1)
    return top.add_(excess.log_(), alpha=softness)

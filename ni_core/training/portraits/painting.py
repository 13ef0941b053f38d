"""What is painted on the surfaces: hairline, strands, eyes, brows, mouth, beard, glasses.

Everything is painted in head coordinates, found by turning the visible point back
into the head's frame, so paint sticks to the head whatever its pose. Masks are soft
edges of about one pixel at 128 px.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ni_core.training.portraits.anatomy import face_scale
from ni_core.training.portraits.factors import column
from ni_core.training.portraits.geometry import Corner, Frame, Window, constant
from ni_core.training.portraits.surfaces import BEHIND, Surfaces

EDGE = 0.012
"""Half width of a painted edge, in head units."""

EYE_X, EYE_Y = 0.205, 0.045
"""Where the eyes are, in head units; x is scaled with the width of the face."""

MOUTH_Y = -0.395
"""Height of the closed mouth."""

FAR_HAIR = -0.5
"""Depth of the far side of the hair, where it is seen past the head."""

Point = tuple[Tensor, Tensor, Tensor]

SKIN_COLOURS = ((0.98, 0.81, 0.71), (0.90, 0.67, 0.52), (0.67, 0.44, 0.30), (0.36, 0.22, 0.155))
EYE_COLOURS = ((0.34, 0.18, 0.08), (0.30, 0.48, 0.26), (0.30, 0.58, 0.92))
CLOTHES_COLOURS = ((0.75, 0.22, 0.22), (0.80, 0.66, 0.25), (0.25, 0.58, 0.38), (0.24, 0.34, 0.75))
HAIR_COLOURS = ((0.10, 0.09, 0.11), (0.27, 0.10, 0.05), (0.86, 0.84, 0.80), (0.98, 0.68, 0.28))
"""Dark ashen, dark warm, light ashen, light warm."""
GLASSES_COLOUR = (0.07, 0.07, 0.08)
MOUTH_COLOUR = (0.22, 0.05, 0.05)
WHITE = (0.95, 0.94, 0.92)


def gradient(colours: tuple[tuple[float, float, float], ...], position: Tensor) -> Tensor:
    """Colours `[n, 3]` at positions `[n]` in [0, 1] along evenly spaced colours."""
    table = constant(colours, position)
    scaled = position.clamp(0, 1) * (len(colours) - 1)
    lower = scaled.floor().clamp(max=len(colours) - 2)
    below, above = table[lower.long()], table[lower.long() + 1]
    return torch.lerp(below, above, (scaled - lower)[:, None])


def hair_colour(factors: Tensor) -> Tensor:
    """Colour of the hair `[n, 3]`, from its tone and warmth."""
    tone, warmth = factors[:, column("hair_tone")], factors[:, column("hair_warmth")]
    dark = gradient(HAIR_COLOURS[:2], warmth)
    light = gradient(HAIR_COLOURS[2:], warmth)
    return torch.lerp(dark, light, tone[:, None])


def cut_hair(factors: Tensor, surface: Surfaces, head: Frame, x: Tensor, y: Tensor) -> Tensor:
    """Cut the hair to its hairline: depth of the hair `[n, h, w]`, `BEHIND` where cut.

    Where the cut opens a view past the head, the far side of the hair is seen.
    """
    hx, hy, hz = head.locate(x, y, surface.hair)
    fringe, length = (factors[:, column(n), None, None] for n in ("fringe", "hair_length"))
    jagged = (hx * 31).sin_().mul_(0.016).add_((hx * 13 + 1).sin_().mul_(0.022))
    front = 0.47 - 0.25 * fringe + jagged + 0.10 * hx
    grown = ((length - 0.15) / 0.3).clamp(0, 1)
    side = (0.12 - 0.12 * grown - 2.4 * grown * length).expand_as(hz)
    nape = (-0.35 - 2.2 * length).expand_as(hz)
    line = torch.lerp(nape, side, _step(-0.34, -0.22, hz))
    line = torch.lerp(line, front, _step(0.20, 0.42, hz))
    far = torch.where((hy > nape) & (surface.hair > BEHIND), FAR_HAIR, BEHIND)
    return torch.where(hy > line, surface.hair, far)


def curl_hair(factors: Tensor, point: Point) -> Tensor:
    """How far waves lift the hair, `[n, h, w]`."""
    hx, hy, hz = point
    curl = factors[:, column("curl"), None, None]
    waves = (hx * 19 + hz * 7).sin_().mul_((hy * 17 - hz * 5).sin_())
    return waves.add_((hx * 11 - hy * 13).sin_().mul_(0.5)).mul_(0.023 * curl)


def albedo(
    factors: Tensor, point: Point, hair: Tensor, clothes: Tensor, windows: list[Window]
) -> Tensor:
    """Colour of the visible surface before light, `[n, 3, h, w]` in [0, 1].

    Args:
        factors: `[n, F]`.
        point: The visible point in head coordinates, each `[n, h, w]`.
        hair: Mask of hair, bool `[n, h, w]`.
        clothes: Mask of clothes, bool `[n, h, w]`.
        windows: Of `LAYERS`.
    """
    skin = gradient(SKIN_COLOURS, factors[:, column("skin_tone")])
    picture = skin[:, :, None, None].expand(-1, -1, *hair.shape[1:]).clone()
    for (paint, worn, *_), window in zip(LAYERS, windows, strict=True):
        if worn is None or hair.device.type != "cpu" or factors[:, column(worn)].any():
            here = [p[:, *window] for p in point]
            paint(_Face(factors, (here[0], here[1], here[2])), picture[:, :, *window], skin)
    cloth = gradient(CLOTHES_COLOURS, factors[:, column("clothes")])
    _paint(picture, cloth, clothes.to(picture.dtype))
    strands = _strands(factors, point)
    return torch.where(
        hair[:, None], hair_colour(factors)[:, :, None, None] * strands[:, None], picture
    )


class _Face:
    """Painter of a part of some faces; `side` is |x|, so pairs are painted at once."""

    def __init__(self, factors: Tensor, point: Point) -> None:
        self.factors = factors
        self.x, self.y, self.z = point
        self.side = self.x.abs()
        self.wide = face_scale(factors)[:, None, None]
        self.front = _step(0.05, 0.15, self.z)
        self.eye_x = self.side - EYE_X * self.wide

    def value(self, name: str) -> Tensor:
        return self.factors[:, column(name), None, None]

    def paint_blush(self, picture: Tensor, skin: Tensor) -> None:
        away = (self.side - 0.27 * self.wide).square_().add_((self.y + 0.2).square_())
        blush = away.mul_(-28).exp_().mul_(self.front)
        _paint(picture, skin * constant((1.0, 0.62, 0.58), skin), blush * 0.25)

    def paint_eyes(self, picture: Tensor, skin: Tensor) -> None:
        opened = 0.028 + 0.062 * self.value("eye_open")
        u, v = self.eye_x / 0.135, self.y - EYE_Y
        arch = (1 - u * u).clamp_(min=0)
        lid = opened * arch
        inside = _inside(v.abs() - lid).mul_(self.front).mul_(arch > 0)
        _paint(
            picture,
            skin * 0.5,
            _inside((v.abs() - lid).abs_() - 0.008).mul_(self.front * 0.45).mul_(arch > 0),
        )
        _paint(picture, constant((WHITE,), skin), inside)
        far = self.eye_x.square().add_(v.square()).sqrt_()
        iris = gradient(EYE_COLOURS, self.factors[:, column("eye_colour")])
        _paint(picture, iris, _inside(far - 0.066) * inside)
        _paint(picture, iris * 0.08, _inside(far - 0.030) * inside)
        shine = (self.x.sign() * self.eye_x + 0.022).square_().add_((v - 0.024).square_()).sqrt_()
        _paint(picture, constant((WHITE,), skin), _inside(shine - 0.012) * inside)
        lash = _inside((v - lid).abs_() - 0.010 - 0.008 * arch).mul_(self.front).mul_(arch > 0.02)
        _paint(picture, constant(((0.10, 0.07, 0.06),), skin), lash)
        self._paint_brows(picture, opened)

    def _paint_brows(self, picture: Tensor, opened: Tensor) -> None:
        height = self.value("brow_height")
        u = (self.eye_x - 0.01) / 0.165
        middle = EYE_Y + 0.145 + 0.4 * opened + 0.05 * height - 0.045 * u * u
        middle = middle - (0.035 + 0.02 * height) * u
        brow = (
            _inside((self.y - middle).abs_() - 0.026 * (1 - 0.35 * u))
            .mul_(u.abs() < 1)
            .mul_(self.front)
        )
        _paint(picture, hair_colour(self.factors) * 0.55, brow * 0.92)

    def paint_mouth(self, picture: Tensor, skin: Tensor) -> None:
        smile, gap = self.value("smile"), 0.060 * self.value("mouth_open")
        half = 0.175 + 0.03 * smile
        u = self.side / half
        middle = MOUTH_Y - gap + (0.03 + 0.075 * smile) * (u * u - 0.45)
        v, arch = self.y - middle, (1 - u * u).clamp_(min=0)
        lips = _inside(v.abs() - (gap + 0.042) * arch.pow(0.7)).mul_(self.front).mul_(arch > 0)
        _paint(picture, skin * constant((0.86, 0.46, 0.45), skin), lips * 0.9)
        inner = _inside(v.abs() - (gap + 0.007) * arch).mul_(self.front).mul_(arch > 0)
        _paint(picture, constant((MOUTH_COLOUR,), skin), inner)
        teeth = inner * _inside(gap * 0.25 - v) * (gap > 0.015)
        _paint(picture, constant((WHITE,), skin), teeth)

    def paint_beard(self, picture: Tensor, skin: Tensor) -> None:
        amount = self.value("beard")
        cheek = -0.26 - 0.34 * (0.45 * self.wide - self.side).clamp(min=0) * 2.2
        region = _step(0.0, 0.09, cheek.clamp(min=-0.62) - self.y) * _step(-0.28, -0.12, self.z)
        moustache = _step(0.0, 0.05, 0.062 - (self.y + 0.30 + self.side.square()).abs())
        moustache = moustache * _step(-0.24, -0.17, -self.side) * self.front
        region = torch.maximum(region, moustache) * (self.y > -0.84)
        grain = 1 + 0.12 * (self.x * 61).sin() * (self.y * 47 + self.z * 21).sin()
        mask = (region * grain * (amount * 2.2).clamp(max=0.95)).clamp_(0, 1)
        _paint(picture, hair_colour(self.factors) * 0.8, mask)

    def paint_glasses(self, picture: Tensor, skin: Tensor) -> None:
        worn = self.value("glasses")
        x, y = self.eye_x.abs() / 0.170, (self.y - EYE_Y + 0.01).abs() / 0.135
        ring = (x.pow(4).add_(y.pow(4))).pow_(0.25)
        frame = _inside((ring - 1).abs_().mul_(0.15) - 0.017)
        bridge = _inside((self.y - EYE_Y - 0.035).abs() - 0.017) * (
            self.side < EYE_X * self.wide - 0.16
        )
        temple = _inside((self.y - EYE_Y - 0.03).abs() - 0.017) * (
            self.side > EYE_X * self.wide + 0.165
        )
        glass = _inside((ring - 1).mul_(0.15)) * self.front
        _paint(picture, constant((WHITE,), skin), glass * worn * 0.10)
        lines = torch.maximum(
            torch.maximum(frame, bridge).mul_(self.front), temple.mul_(self.z > 0.0)
        )
        _paint(picture, constant((GLASSES_COLOUR,), skin), lines * worn)


Layer = tuple[Callable[[_Face, Tensor, Tensor], None], str | None, Corner, Corner]

LAYERS: tuple[Layer, ...] = (
    (_Face.paint_blush, None, (-0.8, -0.75, 0.05), (0.8, 0.35, 0.8)),
    (_Face.paint_beard, "beard", (-0.75, -0.84, -0.28), (0.75, -0.22, 0.8)),
    (_Face.paint_mouth, None, (-0.22, -0.64, 0.05), (0.22, -0.21, 0.8)),
    (_Face.paint_eyes, None, (-0.43, -0.1, 0.05), (0.43, 0.42, 0.8)),
    (_Face.paint_glasses, "glasses", (-0.8, -0.14, 0.0), (0.8, 0.22, 0.8)),
)
"""What is painted on a face, in this order: how, the factor it needs above 0, and two corners of
the box in head coordinates outside which it leaves nothing."""


def _strands(factors: Tensor, point: Point) -> Tensor:
    """Brightness of the hair's strands, about 1, `[n, h, w]`."""
    hx, hy, hz = point
    curl = factors[:, column("curl"), None, None]
    around = torch.atan2(hx, hz + 0.15).add_((hy * 16).sin_().mul_(0.10 * curl))
    fine = (around * 34).sin_().mul_((around * 13 + 1).sin_().add_(1.4)).mul_(0.085)
    return fine.add_(1)


def _paint(picture: Tensor, colour: Tensor, mask: Tensor) -> None:
    """Lay a colour `[n or 1, 3]` over the picture in place where the mask says."""
    picture.lerp_(colour[:, :, None, None].expand_as(picture), mask[:, None].expand_as(picture))


def _inside(distance: Tensor) -> Tensor:
    """Soft mask of negative distances; overwrites its input."""
    return distance.mul_(-0.5 / EDGE).add_(0.5).clamp_(0, 1)


def _step(low: float, high: float, value: Tensor) -> Tensor:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = ((value - low) / (high - low)).clamp_(0, 1)
    return t * t * (3 - 2 * t)

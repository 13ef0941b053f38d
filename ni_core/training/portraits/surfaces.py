"""Depth maps of ellipsoids, and how neighbours melt into each other.

Seen orthographically, the front of an ellipsoid is `-B/A + sqrt(D)/A`: a plane plus the root
of a quadratic in x and y. Planes and quadratics of all parts are two matrix products over the
rays; neighbouring parts are joined by a smooth maximum of their depths. What does not depend on
the ray is computed once for a whole batch, and small parts are computed in windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ni_core.training.portraits import anatomy
from ni_core.training.portraits.anatomy import Ellipsoid
from ni_core.training.portraits.geometry import Canvas, Frame, Outlines, Window, outlines

BEHIND = -4.0
"""Depth where nothing is hit: behind everything."""

STEEP, GENTLE = 5.0, 1.6
"""How much steeper a part's depth falls outside its outline than it rises inside:
apart from its neighbours, or melting into them."""

BROAD, FINE, LOOSE = 0.065, 0.022, 0.05
"""Softness of the smooth maximum: of the head's bulk, of its features, of hair and clothes."""

MARGIN = {STEEP: 0.08, GENTLE: 0.25}
"""How far around its outline a part is computed; there it has fallen out of sight."""


@dataclass(frozen=True)
class Group:
    """Ellipsoids that are joined, as polynomials over the rays, in units of the softness.

    Attributes:
        plane: Coefficients over 1, x, y, `[n, parts, 3]`.
        root: Coefficients over 1, x, y, xx, xy, yy, `[n, parts, 6]`.
        outline: Of what they may cover.
        fall: `STEEP` or `GENTLE`.
    """

    plane: Tensor
    root: Tensor
    outline: Outlines
    fall: float

    def part(self, chosen: slice) -> Group:
        """The same of some of the pictures."""
        return Group(self.plane[chosen], self.root[chosen], self.outline[chosen], self.fall)


@dataclass(frozen=True)
class Shapes:
    """Everything that can be seen of some portraits, before it is drawn.

    Attributes:
        bulk: Skull, face and jaw.
        details: What is joined to the bulk one after the other: features, ears, neck.
        hair: Hair.
        clothes: Clothes.
    """

    bulk: Group
    details: tuple[Group, ...]
    hair: Group
    clothes: Group

    def part(self, chosen: slice) -> Shapes:
        """The same of some of the pictures."""
        details = tuple(group.part(chosen) for group in self.details)
        return Shapes(
            self.bulk.part(chosen), details, self.hair.part(chosen), self.clothes.part(chosen)
        )


@dataclass(frozen=True)
class Surfaces:
    """Front depths of the three materials, each `[n, h, w]`; `BEHIND` where absent."""

    skin: Tensor
    hair: Tensor
    clothes: Tensor


def shapes(factors: Tensor, head: Frame, body: Frame) -> Shapes:
    """Shapes of portraits with factors `[n, F]`."""
    return Shapes(
        bulk=_group(anatomy.broad_parts(factors), head, BROAD, fall=GENTLE),
        details=(
            _group(anatomy.feature_parts(factors), head, FINE),
            _group(anatomy.ear_parts(factors, -1.0), head, FINE),
            _group(anatomy.ear_parts(factors, 1.0), head, FINE),
            _group(anatomy.neck_parts(), body, FINE),
        ),
        hair=_group(anatomy.hair_parts(factors), head, LOOSE),
        clothes=_group(anatomy.clothes_parts(), body, LOOSE),
    )


def surfaces(shapes: Shapes, canvas: Canvas) -> Surfaces:
    """Front depths of skin, hair and clothes before hair is cut to its hairline."""
    return Surfaces(
        skin=_skin(shapes, canvas),
        hair=_alone(shapes.hair, canvas),
        clothes=_alone(shapes.clothes, canvas),
    )


def _alone(group: Group, canvas: Canvas) -> Tensor:
    window = canvas.window(group.outline)
    depth, hit = _fronts(group, canvas, window)
    surface = _nothing(group, canvas, BEHIND)
    here = _smooth_max(depth).mul_(LOOSE)
    surface[:, *window] = here.masked_fill_(~hit, BEHIND)
    return surface


def _skin(shapes: Shapes, canvas: Canvas) -> Tensor:
    skin = _nothing(shapes.bulk, canvas, BEHIND / FINE)
    hit = torch.zeros_like(skin, dtype=torch.bool)
    window = canvas.window(shapes.bulk.outline)
    depth, hit[:, *window] = _fronts(shapes.bulk, canvas, window)
    skin[:, *window] = _smooth_max(depth).mul_(BROAD / FINE)
    for group in shapes.details:
        window = canvas.window(group.outline)
        depth, hit_here = _fronts(group, canvas, window)
        below = skin[:, *window]
        below.copy_(_smooth_max(torch.cat([below[:, None], depth], dim=1)))
        hit[:, *window].logical_or_(hit_here)
    return skin.mul_(FINE).masked_fill_(~hit, BEHIND)


def _nothing(group: Group, canvas: Canvas, depth: float) -> Tensor:
    return torch.full_like(canvas.basis[0], depth).repeat(len(group.plane), 1, 1)


def _group(parts: list[Ellipsoid], frame: Frame, softness: float, *, fall: float = STEEP) -> Group:
    centres, axes = _stack(parts, 0, frame), _stack(parts, 1, frame)
    plane, root = _coefficients(centres, axes, frame)
    sides = frame.outline(centres, axes)
    low, high = sides.amin(dim=1) - MARGIN[fall], sides.amax(dim=1) + MARGIN[fall]
    outline = torch.stack([low[:, 0], high[:, 1], low[:, 2], high[:, 3]], dim=1)
    return Group(plane / softness, root / softness**2, outlines(outline), fall)


def _stack(parts: list[Ellipsoid], which: int, frame: Frame) -> Tensor:
    """Centres (which = 0) or half axes (which = 1) of the parts, `[n, parts, 3]`."""
    like = frame.axes[:, 0, 0]
    rows = [
        torch.stack(
            [v if isinstance(v, Tensor) else torch.full_like(like, v) for v in part[which]], dim=-1
        )
        for part in parts
    ]
    return torch.stack(rows, dim=1)


def _coefficients(centres: Tensor, axes: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
    """Coefficients of depth = plane + sqrt(root), as in `Group`."""
    right, up, front = (frame.axes[:, None, i] / axes for i in range(3))
    rows = torch.stack([-centres / axes, right, up], dim=2)
    along = (rows * front[:, :, None]).sum(-1)
    a = (front * front).sum(-1)[..., None]
    form = along[..., :, None] * along[..., None, :] - a[..., None] * (rows @ rows.mT)
    form[..., 0, 0] += a[..., 0]
    form = form / (a * a)[..., None]
    terms = ((0, 0, 1), (0, 1, 2), (0, 2, 2), (1, 1, 1), (1, 2, 2), (2, 2, 1))
    return -along / a, torch.stack([form[..., i, j] * times for i, j, times in terms], dim=-1)


def _fronts(group: Group, canvas: Canvas, window: Window) -> tuple[Tensor, Tensor]:
    """Front depths `[n, parts, h, w]` in a window, and where any is hit `[n, h, w]`.

    Past its outline a part's depth goes on falling (the root changes its sign), so
    that smooth maxima have no edges there.
    """
    basis = canvas.basis[:, *window]
    shape = (*group.plane.shape[:2], *basis.shape[1:])
    flat = basis.flatten(1)
    square = group.root.flatten(0, 1) @ flat
    hit = square.view(shape).amax(dim=1) > 0
    torch.nn.functional.leaky_relu_(square, group.fall**2)
    depth = square.abs().sqrt_().copysign_(square)
    return depth.addmm_(group.plane.flatten(0, 1), flat[:3]).view(shape), hit


def _smooth_max(depths: Tensor) -> Tensor:
    """Smooth maximum over the parts, `[n, parts, h, w]` -> `[n, h, w]`; overwrites its input.

    In units of the softness. What is far behind is held at -30: the exponential of less
    leaves the normal numbers, and those are slow.
    """
    top = depths.amax(dim=1)
    return depths.sub_(top[:, None]).clamp_(min=-30).exp_().sum(dim=1).log_().add_(top)

"""What a head is made of: ellipsoids in head coordinates, by the factors that shape them."""

from __future__ import annotations

from torch import Tensor

from ni_core.training.portraits.factors import column

Number = Tensor | float
Ellipsoid = tuple[tuple[Number, Number, Number], tuple[Number, Number, Number]]
"""Centre and half axes; a tensor has one value per picture."""


def face_scale(factors: Tensor) -> Tensor:
    """Width of the head relative to the mean head, `[n]`."""
    return 1 + 0.13 * factors[:, column("face_width")]


def broad_parts(factors: Tensor) -> list[Ellipsoid]:
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


def feature_parts(factors: Tensor) -> list[Ellipsoid]:
    """Nose, lips and lids."""
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
        ]
    return parts


def ear_parts(factors: Tensor, side: float) -> list[Ellipsoid]:
    """The ear to the left (-1) or right (1) of the picture."""
    return [((side * 0.56 * face_scale(factors), -0.02, -0.04), (0.07, 0.17, 0.11))]


def _jaw_drop(factors: Tensor) -> Tensor:
    return 0.07 * factors[:, column("mouth_open")]


def neck_parts() -> list[Ellipsoid]:
    """Neck and what is bare of the shoulders."""
    return [((0.0, -0.85, -0.14), (0.27, 0.65, 0.27)), ((0.0, -1.28, -0.12), (0.62, 0.42, 0.33))]


def clothes_parts() -> list[Ellipsoid]:
    """Body and shoulders."""
    return [
        ((0.0, -1.42, -0.14), (0.98, 0.52, 0.42)),
        ((-0.55, -1.22, -0.14), (0.34, 0.30, 0.32)),
        ((0.55, -1.22, -0.14), (0.34, 0.30, 0.32)),
    ]


def hair_parts(factors: Tensor) -> list[Ellipsoid]:
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

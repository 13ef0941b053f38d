"""The factors of a synthetic portrait: what may vary, how far, and how often.

Every picture is a function of one row of factors and of nothing else, so the truth
about a picture is complete. Columns are named; the table below is their only
definition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ni_core.training.portraits.philox import philox

DRAWS_PER_PICTURE = 32
"""Random numbers reserved for each picture; a multiple of Philox's four per step."""

BLOCKS = 7
"""Philox steps whose numbers are used."""

Law = Literal["uniform", "normal", "rectified", "binary"]


@dataclass(frozen=True)
class Factor:
    """One column of the factors: its name, range and sampling law.

    Attributes:
        name: Column name.
        low: Smallest value.
        high: Largest value.
        law: `uniform` on the range; `normal` about the middle, truncated at two
            standard deviations = the range; `rectified` is uniform on a range
            twice as long and cut off at `low`, so half of all pictures have `low`;
            `binary` is `low` in 60 % of the pictures and `high` in the others.
        meaning: What a reader sees at the low and at the high end.
    """

    name: str
    low: float
    high: float
    law: Law
    meaning: str


FACTORS = (
    Factor("yaw", -0.9, 0.9, "normal", "head turned to the left / right of the picture, radians"),
    Factor("pitch", -0.4, 0.4, "normal", "looks down / up, radians"),
    Factor("roll", -0.2, 0.2, "normal", "leans to the right / left of the picture, radians"),
    Factor("light_azimuth", -1.3, 1.3, "uniform", "light from the left / right, radians"),
    Factor("light_elevation", 0.0, 1.1, "uniform", "light from the front / above, radians"),
    Factor("light_contrast", 0.0, 1.0, "uniform", "even light / hard shadows"),
    Factor("light_warmth", -1.0, 1.0, "uniform", "cold / warm light"),
    Factor("skin_tone", 0.0, 1.0, "uniform", "light / dark skin"),
    Factor("face_width", -1.0, 1.0, "normal", "narrow / wide head"),
    Factor("jaw", -1.0, 1.0, "normal", "pointed / square jaw"),
    Factor("hair_tone", 0.0, 1.0, "uniform", "dark / light hair"),
    Factor("hair_warmth", 0.0, 1.0, "uniform", "ashen / red-golden hair"),
    Factor("hair_volume", 0.0, 1.0, "uniform", "flat / full hair"),
    Factor("hair_length", 0.0, 1.0, "uniform", "cropped / below the shoulders"),
    Factor("fringe", 0.0, 1.0, "uniform", "high hairline / fringe over the brows"),
    Factor("curl", 0.0, 1.0, "uniform", "straight / curly hair"),
    Factor("beard", 0.0, 1.0, "rectified", "none / full beard"),
    Factor("glasses", 0.0, 1.0, "binary", "none / glasses"),
    Factor("mouth_open", 0.0, 1.0, "uniform", "closed / open mouth"),
    Factor("smile", -1.0, 1.0, "uniform", "corners of the mouth down / up"),
    Factor("eye_open", 0.0, 1.0, "uniform", "narrowed / wide eyes"),
    Factor("eye_colour", 0.0, 1.0, "uniform", "brown / green / blue iris"),
    Factor("brow_height", -1.0, 1.0, "uniform", "low / raised brows"),
    Factor("background_red", -1.0, 1.0, "uniform", "green / magenta background"),
    Factor("background_blue", -1.0, 1.0, "uniform", "yellow / blue background"),
    Factor("background_light", 0.0, 1.0, "uniform", "dark / bright background"),
    Factor("clothes", 0.0, 1.0, "uniform", "red / green / blue clothes"),
)

FACTOR_NAMES = tuple(factor.name for factor in FACTORS)


def column(name: str) -> int:
    """Column of a factor, by name.

    Raises:
        ValueError: There is no such factor.
    """
    try:
        return FACTOR_NAMES.index(name)
    except ValueError:
        raise ValueError(f"no factor {name!r}; there are {', '.join(FACTOR_NAMES)}") from None


def neutral_factors(n: int) -> Tensor:
    """The middle of every range (`low` for rectified and binary factors), `[n, F]`."""
    middle = [
        factor.low if factor.law in ("rectified", "binary") else (factor.low + factor.high) / 2
        for factor in FACTORS
    ]
    return torch.tensor(middle, dtype=torch.float32).repeat(n, 1)


def sample_factors(seed: int, start: int, n: int) -> Tensor:
    """Factors of the pictures `start` to `start + n - 1` of the stream `seed`.

    A picture's factors depend on the seed and its index alone, never on the batch it
    is drawn in, so any part of a set can be rendered anywhere.

    Args:
        seed: Which stream of pictures, >= 0.
        start: Index of the first picture, >= 0.
        n: Number of pictures.

    Returns:
        Factors `[n, F]`, float32, columns as in `FACTORS`.
    """
    return _follow_laws(_uniform(seed, start, n))


def factors_at(seed: int, indices: Tensor) -> Tensor:
    """Factors `[n, F]` of the pictures with the given indices `[n]`, as `sample_factors`."""
    blocks = np.arange(BLOCKS, dtype=np.uint64)
    first = indices.cpu().numpy().astype(np.uint64) * np.uint64(DRAWS_PER_PICTURE // 4)
    raw = philox(seed, first[:, None] + blocks + np.uint64(1))
    return _follow_laws(_unit_interval(raw.reshape(len(first), -1)))


def _uniform(seed: int, start: int, n: int) -> np.ndarray:
    """Uniform numbers in (0, 1) of `n` pictures in a row, `[n, F]`."""
    stream = np.random.Philox(key=seed).advance(start * DRAWS_PER_PICTURE // 4)
    return _unit_interval(stream.random_raw(n * DRAWS_PER_PICTURE).reshape(n, DRAWS_PER_PICTURE))


def _unit_interval(raw: np.ndarray) -> np.ndarray:
    """Turn 64 random bits `[n, draws]` into numbers in (0, 1), as many as there are factors."""
    kept = (raw[:, : len(FACTORS)] >> np.uint64(11)).astype(np.float64)
    return np.asarray((kept + 0.5) / 2.0**53)


def _follow_laws(uniform: np.ndarray) -> Tensor:
    """Turn uniform numbers `[n, F]` into factors."""
    columns = [_shape(torch.from_numpy(uniform[:, i]), f) for i, f in enumerate(FACTORS)]
    return torch.stack(columns, dim=1).float()


def _shape(uniform: Tensor, factor: Factor) -> Tensor:
    """Turn uniform numbers in (0, 1) into values that follow the factor's law."""
    span = factor.high - factor.low
    if factor.law == "normal":
        edge = 0.5 * (1 + math.erf(2 / math.sqrt(2)))
        deviations: Tensor = torch.special.ndtri((1 - edge) + uniform * (2 * edge - 1))
        return factor.low + span * (0.5 + deviations / 4)
    if factor.law == "rectified":
        return factor.low + span * (2 * uniform - 1).clamp(min=0)
    if factor.law == "binary":
        return factor.low + span * (uniform >= 0.6).to(uniform.dtype)
    return factor.low + span * uniform

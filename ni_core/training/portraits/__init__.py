"""Synthetic portraits with known factors: a renderer in plain batched torch.

`sample_factors` draws what a picture shows, `render` shows it. A 2.5-D renderer: the
front depth of an ellipsoid has a closed form, so a head is a smooth maximum of depth
maps (`geometry`), painted in head coordinates (`painting`) and lit (`shading`).
"""

from ni_core.training.portraits.factors import (
    FACTOR_NAMES,
    FACTORS,
    Factor,
    column,
    factors_at,
    neutral_factors,
    sample_factors,
)
from ni_core.training.portraits.rendering import render

__all__ = [
    "FACTORS",
    "FACTOR_NAMES",
    "Factor",
    "column",
    "factors_at",
    "neutral_factors",
    "render",
    "sample_factors",
]

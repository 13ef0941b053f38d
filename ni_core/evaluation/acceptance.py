"""What the learnt methods are meant to achieve, each with the two figures that decide it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from ni_core.evaluation.picture_sets import UNSEEN_RENDERS

MAPPER_FACTOR = 1.5
"""LPIPS of the mapper, and of the mapper on half-masked pictures, may be so many times another."""

Figures = Mapping[str, Any]
Check = dict[str, str | float | bool | None]


def acceptance(methods: Figures, curve: Figures | None) -> list[Check]:
    """Check all aims on unseen renders; what was not measured is neither true nor false.

    Args:
        methods: `methods` of the report.
        curve: The figures of `ni evaluate curve`, if there are any.

    Returns:
        Of each: `aim`, `value`, `limit` and `holds`; None where a part is missing.
    """
    series = curve["series"] if curve else {}
    e4e, masked = _figure(methods, "e4e", "lpips"), _figure(methods, "mapper masked", "lpips")
    mapper = _figure(methods, "mapper", "lpips")
    return [
        _check(
            "θ at 20 steps: loss ≤ that of cold descent at 100 steps",
            _loss(series, "landscape", 20),
            _loss(series, "cold", 100),
        ),
        _check(
            "ReStyle: mse < that of e4e",
            _figure(methods, "restyle", "mse"),
            _figure(methods, "e4e", "mse"),
            operator.lt,
        ),
        _check(
            "e4e: editability > that of pSp",
            _figure(methods, "e4e", "editability"),
            _figure(methods, "psp", "editability"),
            operator.gt,
        ),
        _check(f"mapper: LPIPS ≤ {MAPPER_FACTOR:g} times that of e4e", mapper, _times(e4e)),
        _check(
            f"mapper, right half hidden: LPIPS of the whole picture ≤ {MAPPER_FACTOR:g} times that "
            "with nothing hidden",
            masked,
            _times(mapper),
        ),
    ]


def _check(
    aim: str,
    value: float | None,
    limit: float | None,
    holds: Callable[[float, float], bool] = operator.le,
) -> Check:
    if value is None or limit is None:
        return {"aim": aim, "value": value, "limit": limit, "holds": None}
    return {"aim": aim, "value": value, "limit": round(limit, 5), "holds": holds(value, limit)}


def _figure(methods: Figures, name: str, figure: str) -> float | None:
    value: float | None = methods.get(name, {}).get(UNSEEN_RENDERS, {}).get(figure)
    return value


def _loss(series: Figures, name: str, steps: int) -> float | None:
    points = series.get(name, [])
    return next((float(point["loss"]) for point in points if point["steps"] == steps), None)


def _times(value: float | None) -> float | None:
    return None if value is None else MAPPER_FACTOR * value

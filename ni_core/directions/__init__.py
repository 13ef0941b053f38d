"""Directions: what can be changed, and by how much. One method per file, one table."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.directions.calibration import safe_range
from ni_core.directions.direction import Direction, parse_direction_id
from ni_core.directions.sefa import factorize
from ni_core.errors import InvalidOptionError, UnknownDirectionError, UnknownMethodError
from ni_core.layers import parse_layers

__all__ = [
    "DIRECTION_METHODS",
    "Direction",
    "find_directions",
    "resolve_direction",
]


def _sefa(bundle: Bundle, layers: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    weights = bundle.generator.style_weights(layers)
    vectors, eigenvalues = factorize(weights, k=weights.shape[0])
    return vectors.cpu(), eigenvalues.cpu()


DIRECTION_METHODS: dict[str, Callable[[Bundle, tuple[int, ...]], tuple[Tensor, Tensor]]] = {
    "sefa": _sefa,
}
"""Methods by name: from a bundle and rows of W+ to all directions, the strongest first."""


def find_directions(
    bundle: Bundle, method: str = "sefa", layers: str = "all", k: int = 8
) -> list[Direction]:
    """Find directions of a bundle's generator.

    Results are kept with the bundle: asking again, or for fewer, costs nothing.

    Args:
        bundle: The bundle.
        method: One of `DIRECTION_METHODS`.
        layers: Rows of W+ as text, `all`, `0-5` or `1,3`.
        k: How many, 1 <= k <= w_dim.

    Returns:
        The k strongest directions, the strongest first.

    Raises:
        UnknownMethodError: There is no such method.
        InvalidLayersError: The layers text cannot be read or exceeds the generator.
        InvalidOptionError: k is out of range.
    """
    if method not in DIRECTION_METHODS:
        raise UnknownMethodError(
            f"direction method {method[:40]!r} is not one of {', '.join(DIRECTION_METHODS)}",
            value=method[:40],
            limit=list(DIRECTION_METHODS),
        )
    rows = parse_layers(layers, bundle.generator.num_layers)
    if not 1 <= k <= bundle.generator.w_dim:
        raise InvalidOptionError(
            f"k {k} is not between 1 and {bundle.generator.w_dim}, the dimensions of W",
            value=k,
            limit=bundle.generator.w_dim,
        )
    found = bundle.memo.get((method, rows), lambda: _find_all(bundle, method, rows))
    return found[:k]


def _find_all(bundle: Bundle, method: str, rows: tuple[int, ...]) -> list[Direction]:
    vectors, eigenvalues = DIRECTION_METHODS[method](bundle, rows)
    ranges = safe_range(bundle, vectors)
    return [
        Direction(
            index=index,
            method=method,
            layers=rows,
            vector=vectors[index],
            eigenvalue=float(eigenvalues[index]),
            range=ranges[index],
            generator=bundle.generator.fingerprint,
        )
        for index in range(len(vectors))
    ]


def resolve_direction(bundle: Bundle, direction_id: str) -> Direction:
    """Find the direction an id names.

    Args:
        bundle: The bundle it belongs to.
        direction_id: `method.layers.index`, as in `sefa.0-5.3`.

    Returns:
        The direction, equal in every process that has the same weights.

    Raises:
        UnknownDirectionError: The id cannot be read, or the index is beyond the dimensions of W.
        UnknownMethodError: There is no such method.
        InvalidLayersError: The layers exceed the generator.
    """
    method, layers, index = parse_direction_id(direction_id)
    if index >= bundle.generator.w_dim:
        raise UnknownDirectionError(
            f"direction {direction_id}: index {index} exceeds {bundle.generator.w_dim - 1}",
            value=index,
            limit=bundle.generator.w_dim - 1,
        )
    return find_directions(bundle, method, layers, index + 1)[index]

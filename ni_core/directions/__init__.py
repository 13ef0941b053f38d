"""Directions: what can be changed, and by how much. One method per file, one table."""

from __future__ import annotations

from ni_core.bundles import Bundle
from ni_core.directions.direction import Direction, parse_direction_id
from ni_core.directions.methods import (
    DIRECTION_METHODS,
    available_direction_methods,
    require_direction_method,
)
from ni_core.errors import InvalidOptionError, UnknownDirectionError
from ni_core.layers import ALL, parse_layers

__all__ = [
    "DIRECTION_METHODS",
    "Direction",
    "available_direction_methods",
    "direction_at",
    "find_directions",
    "resolve_direction",
]


def find_directions(
    bundle: Bundle, method: str = "sefa", layers: str = ALL, k: int = 8
) -> list[Direction]:
    """Find directions of a bundle's generator.

    Results are kept with the bundle: asking again, or for fewer, costs nothing.

    Args:
        bundle: The bundle.
        method: One of `available_direction_methods`.
        layers: Rows of W+ as text, `all`, `0-5` or `1,3`; only `all` for a generator without
            layers. A method that finds directions finds those of these rows. Imported directions
            are the same for every text: `all` leaves each the rows it is meant for, any other
            text applies all of them to its rows.
        k: How many at most, 1 <= k; not above the dimensions of the space, nor above what the
            method has if that is more.

    Returns:
        The k strongest directions, the strongest first; imported ones in the order of the file.

    Raises:
        UnknownMethodError: There is no such method, or the bundle lacks a part it needs.
        InvalidLayersError: The layers text cannot be read or exceeds the generator.
        InvalidOptionError: k is out of range.
    """
    found = _find_all(bundle, method, layers)
    limit = max(len(found), bundle.generator.w_dim or bundle.generator.z_dim)
    if not 1 <= k <= limit:
        raise InvalidOptionError(
            f"k {k} is not between 1 and {limit}, the number of directions", value=k, limit=limit
        )
    return found[:k]


def direction_at(bundle: Bundle, method: str, layers: str, index: int) -> Direction:
    """Return the direction of an index among those that a method lists for a layers text.

    Raises:
        UnknownDirectionError: There are not so many.
        UnknownMethodError: There is no such method, or the bundle lacks a part it needs.
        InvalidLayersError: The layers text cannot be read or exceeds the generator.
    """
    found = _find_all(bundle, method, layers)
    if not 0 <= index < len(found):
        raise UnknownDirectionError(
            f"direction {method}.{layers}.{index}: index {index} exceeds {len(found) - 1}",
            value=index,
            limit=len(found) - 1,
        )
    return found[index]


def resolve_direction(bundle: Bundle, direction_id: str) -> Direction:
    """Find the direction an id names.

    Args:
        bundle: The bundle it belongs to.
        direction_id: `method.layers.index`, as in `sefa.0-5.3`; `sefa.z.3` without layers.

    Returns:
        The direction, equal in every process that has the same weights.

    Raises:
        UnknownDirectionError: The id cannot be read, or its index exceeds what there is.
        UnknownMethodError: There is no such method, or the bundle lacks a part it needs.
        InvalidLayersError: The layers exceed the generator.
    """
    return direction_at(bundle, *parse_direction_id(direction_id))


def _find_all(bundle: Bundle, method: str, layers: str) -> list[Direction]:
    chosen = require_direction_method(method, bundle)
    rows = parse_layers(layers, bundle.generator.num_layers)
    own = chosen.has_own_layers and layers.strip().lower() == ALL
    key = None if own else rows
    return bundle.memo.get((method, key), lambda: chosen.find(bundle, key))

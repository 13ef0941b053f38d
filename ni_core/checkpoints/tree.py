"""The shape of what a pickle made: no object inside itself, not too deep, not too large."""

from __future__ import annotations

from typing import Any

from ni_core.checkpoints.inert import Draft, Inert
from ni_core.errors import CheckpointError, UnsafeCheckpointError

_MAX_DEPTH = 200
"""Levels of containers; a network of networks of an NVIDIA pickle has about forty."""

_MAX_NODES = 10_000_000
"""Objects met by a walk through everything, where shared ones count each time."""


def check_tree(root: Any) -> None:
    """Make sure that any walk through a document ends soon.

    Raises:
        CheckpointError: An object was begun and never finished.
        UnsafeCheckpointError: It is too deep or too large, or contains itself.
    """
    measured: dict[int, tuple[int, int]] = {}
    entered: set[int] = set()
    agenda: list[tuple[Any, bool]] = [(root, False)]
    while agenda:
        node, left = agenda.pop()
        if left:
            entered.discard(id(node))
            measured[id(node)] = _measure(node, measured)
        elif id(node) in entered:
            raise UnsafeCheckpointError("holds an object that contains itself")
        elif id(node) not in measured:
            parts = _parts(node)
            if parts:
                entered.add(id(node))
                agenda.append((node, True))
                agenda.extend((part, False) for part in parts)


def _measure(node: Any, measured: dict[int, tuple[int, int]]) -> tuple[int, int]:
    sizes = [measured.get(id(part), (1, 0)) for part in _parts(node)]
    size, depth = 1 + sum(size for size, _ in sizes), 1 + max(depth for _, depth in sizes)
    if size > _MAX_NODES or depth > _MAX_DEPTH:
        raise UnsafeCheckpointError(
            f"holds {size} objects, {depth} deep; the limits are {_MAX_NODES} and {_MAX_DEPTH}",
            value=[size, depth],
            limit=[_MAX_NODES, _MAX_DEPTH],
        )
    return size, depth


def _parts(node: Any) -> list[Any]:
    if isinstance(node, Draft):
        raise CheckpointError("holds an array that was begun and never finished")
    if isinstance(node, dict):
        return [*node.keys(), *node.values()] if _has_objects(node) else [*node.values()]
    if isinstance(node, list | tuple | set):
        return [*node]
    if isinstance(node, Inert):
        return [node.args, node.state, *node.items]
    return []


def _has_objects(node: dict[Any, Any]) -> bool:
    return any(isinstance(key, Inert | tuple) for key in node)

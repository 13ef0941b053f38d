"""State dicts in foreign files: where they are, and what the numbers in their keys tell."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ni_core.errors import CheckpointError

_PARALLEL = "module."
"""What training on several devices puts before every key."""


def find_state_dict(
    root: Any, names: Iterable[str] = (), marks: Collection[str] = ()
) -> dict[str, Tensor] | None:
    """Find a network's state dict in a file, or the file that is one.

    Args:
        root: Content of the file.
        names: Where it may be in the file, the preferred place first.
        marks: Keys it must have.

    Returns:
        Tensors by name, at least one, without the `module.` of parallel training; None where there
        are none.
    """
    if not isinstance(root, Mapping):
        return None
    for candidate in [*(root.get(name) for name in names), root]:
        tensors = _state_dict(candidate)
        if tensors and all(mark in tensors for mark in marks):
            return tensors
    return None


def tensor_of(value: Any) -> Tensor | None:
    """A tensor or an array of real numbers as a tensor; None for anything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.from_numpy(value)
    return value if isinstance(value, Tensor) else None


def _state_dict(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, Mapping) or not all(_is_entry(*entry) for entry in value.items()):
        return {}
    parallel = all(key.startswith(_PARALLEL) for key in value)
    return {key.removeprefix(_PARALLEL) if parallel else key: value[key] for key in value}


def _is_entry(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def count(tensors: Mapping[str, Tensor], pattern: str, *, start: int = 0) -> int:
    """Number of layers, by the highest of their indexes.

    One that is missing in between is counted, so that its keys are then named as missing.

    Args:
        tensors: The state dict.
        pattern: Key of any of a layer's tensors, with `{}` for the index.
        start: The first index.
    """
    before, after = pattern.split("{}")
    numbered = re.compile(rf"{re.escape(before)}(0|[1-9]\d{{0,5}}){re.escape(after[:1])}")
    matches = (numbered.match(key) for key in tensors)
    indexes = (int(match[1]) for match in matches if match)
    # A file cannot have more layers than tensors: an index beyond them is left over.
    return max((index + 1 - start for index in indexes if index <= len(tensors)), default=0)


def size(tensors: Mapping[str, Tensor], key: str, axis: int) -> int:
    """Size of a tensor along an axis.

    Raises:
        CheckpointError: There is no such tensor, or it has no such axis, or nothing along it.
    """
    if key not in tensors:
        raise CheckpointError(f"the generator lacks {key}", value=key)
    shape = tensors[key].shape
    if not -len(shape) <= axis < len(shape):
        raise CheckpointError(f"{key} of shape {list(shape)} has too few axes", value=key)
    if not shape[axis]:
        raise CheckpointError(f"{key} of shape {list(shape)} is empty", value=key)
    return shape[axis]

"""Tensors of a pickle: storages and views of them, every bound checked by us."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ni_core.checkpoints.budget import Budget
from ni_core.checkpoints.inert import shown
from ni_core.errors import CheckpointError, UnsafeCheckpointError

_MAX_DIMENSIONS = 32
_MAX_SIDE = 1 << 48

_DTYPE_NAMES = (
    "float64 float32 float16 bfloat16 complex64 complex128 uint8 int8 int16 int32 int64 bool "
    "uint16 uint32 uint64 float8_e4m3fn float8_e5m2"
)
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _DTYPE_NAMES.split()}
"""Number types by the name that files give them."""

STORAGES: dict[str, torch.dtype | None] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": None,
}
"""Number types of storage classes; None where each tensor says its own."""


@dataclass(eq=False)
class StorageType:
    """A storage class as a file names it; dtype None is bytes without a type."""

    dtype: torch.dtype | None

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return 1 if self.dtype is None else self.dtype.itemsize


@dataclass(eq=False)
class Storage:
    """Memory that tensors are views of.

    Attributes:
        raw: Its bytes, uint8 `[n]`.
        dtype: Type of its numbers; None if each tensor says its own.
    """

    raw: Tensor
    dtype: torch.dtype | None

    def numbers(self, dtype: torch.dtype | None = None) -> Tensor:
        """All numbers, `[n]`, sharing memory with `raw`."""
        wanted = dtype or self.dtype or torch.uint8
        return self.raw[: len(self.raw) // wanted.itemsize * wanted.itemsize].view(wanted)


def raw_bytes(budget: Budget, view: memoryview, itemsize: int) -> Tensor:
    """Bytes of a file as uint8 `[n]`: the file's own pages where they lie on whole numbers."""
    if len(view) == 0:
        return torch.empty(0, dtype=torch.uint8)
    raw = torch.frombuffer(view, dtype=torch.uint8)
    if raw.data_ptr() % itemsize == 0:
        return raw
    budget.own(len(view))
    return raw.clone()


def view_of(
    budget: Budget,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Make a tensor that is a view of a storage.

    Args:
        budget: Pays for the tensor as if it had memory of its own.
        storage: A `Storage`.
        offset: First number in the storage.
        size: Shape.
        stride: Steps in the storage for each dimension.
        dtype: Type of the numbers; None for the storage's own.

    Raises:
        CheckpointError: The arguments are not of these kinds.
        UnsafeCheckpointError: The view leaves the storage or is too large.
    """
    if not isinstance(storage, Storage):
        raise CheckpointError(f"a tensor is made of {type(storage).__name__}, not of a storage")
    sides, steps = _lengths("size", size), _lengths("stride", stride)
    (first,) = _lengths("offset", (offset,))
    if len(sides) != len(steps):
        raise CheckpointError(f"a tensor has {len(sides)} sides and {len(steps)} strides")
    numbers = storage.numbers(dtype)
    budget.view(math.prod(sides) * numbers.itemsize)
    if 0 in sides:
        return torch.empty(sides, dtype=numbers.dtype)
    last = first + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    if last >= len(numbers):
        raise UnsafeCheckpointError(
            f"a tensor reaches number {last} of a storage of {len(numbers)}",
            value=last,
            limit=len(numbers) - 1,
        )
    return numbers.as_strided(sides, steps, numbers.storage_offset() + first)


def _lengths(what: str, values: Any) -> tuple[int, ...]:
    if not isinstance(values, Sequence) or len(values) > _MAX_DIMENSIONS:
        raise CheckpointError(f"a tensor's {what} is no list of up to {_MAX_DIMENSIONS} numbers")
    for value in values:
        if type(value) is not int or not 0 <= value <= _MAX_SIDE:
            raise UnsafeCheckpointError(
                f"a tensor's {what} holds {shown(value)}, not a number from 0 to {_MAX_SIDE}",
                limit=_MAX_SIDE,
            )
    return tuple(values)

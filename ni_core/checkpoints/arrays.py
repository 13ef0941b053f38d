"""NumPy arrays of pickles and `.npy` files: plain numbers and texts, rebuilt by us."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from ni_core.checkpoints.budget import Budget
from ni_core.checkpoints.inert import Draft, Inert, shown
from ni_core.checkpoints.stream import ByteStream
from ni_core.errors import CheckpointError, UnsafeCheckpointError

MAGIC = b"\x93NUMPY"

_CODE = re.compile(r"[biufc](1|2|4|8|16)|[SU][0-9]{1,4}")
_OBJECT = re.compile(r"O[0-9]{0,2}")
_MAX_HEADER = 10_000

Raw = bytes | bytearray | memoryview | str
"""Content of an array; a text is what Python 2 wrote, one character a byte."""


class DtypeDraft(Draft):
    """Type of an array: a NumPy dtype of plain numbers, texts or objects, else inert."""

    def __init__(self, code: Any) -> None:
        plain = isinstance(code, str) and (_CODE.fullmatch(code) or _OBJECT.fullmatch(code))
        self.value = np.dtype(code) if plain else Inert("numpy", "dtype", (code,))

    def build(self, state: Any) -> None:
        """Take over the byte order."""
        if isinstance(self.value, np.dtype):
            order = state[1]
            if order not in ("<", ">", "=", "|"):
                raise CheckpointError(f"an array's byte order is {shown(order)}")
            self.value = self.value if order == "|" else self.value.newbyteorder(order)
        else:
            self.value.state = state


class ArrayDraft(Draft):
    """An array whose content comes in a second step."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def build(self, state: Any) -> None:
        """Read version, shape, dtype, order and content."""
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, np.dtype):
            self.value = Inert("numpy", "ndarray", (), state)
        elif dtype.hasobject:
            self.value = _objects(shape, content)
        else:
            self.value = array_of(self._budget, content, dtype, shape, fortran=bool(fortran))


def array_of(
    budget: Budget, content: Raw, dtype: np.dtype[Any], shape: Any, *, fortran: bool
) -> np.ndarray[Any, Any]:
    """Make an array with memory of its own, in this machine's byte order.

    Raises:
        CheckpointError: The content is not bytes.
        UnsafeCheckpointError: Shape and content do not fit.
    """
    raw = content.encode("latin-1") if isinstance(content, str) else content
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise CheckpointError(f"an array's content is {type(raw).__name__}, not bytes")
    sides = _shape(shape)
    if math.prod(sides) * dtype.itemsize != len(raw):
        raise UnsafeCheckpointError(
            f"an array of shape {list(sides)} and type {dtype} has {len(raw)} bytes",
            value=len(raw),
            limit=math.prod(sides) * dtype.itemsize,
        )
    budget.own(len(raw))
    if len(raw) == 0:
        return np.empty(sides, dtype.newbyteorder("="))
    flat = np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(sides, order="F" if fortran else "C")


def number_of(dtype: Any, content: Any = b"") -> Any:
    """A NumPy scalar as a plain number or text; inert if it is neither."""
    if not isinstance(dtype, np.dtype):
        return Inert("numpy", "scalar", (dtype, content))
    if dtype.hasobject:
        return content
    raw = content.encode("latin-1") if isinstance(content, str) else bytes(content)
    if len(raw) != dtype.itemsize:
        raise CheckpointError(f"a number of type {dtype} has {len(raw)} bytes")
    return np.frombuffer(raw, dtype)[0].item() if raw else dtype.type()


def read_header(stream: ByteStream) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Read the head of a `.npy` file: type, shape, and whether columns come first."""
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise CheckpointError(f"version {version} of the .npy format is not known")
    shape, fortran, dtype = readers[version](stream, max_header_size=_MAX_HEADER)
    if dtype.kind not in "biufcSUO" or dtype.subdtype is not None:
        raise CheckpointError(f"an array of type {dtype} holds neither numbers nor texts")
    return dtype, shape, fortran


def _objects(shape: Any, content: Any) -> Any:
    """Elements of an object array as they are: one object without shape, else a list."""
    sides = _shape(shape)
    if not isinstance(content, list) or len(content) != math.prod(sides) or len(sides) > 1:
        raise CheckpointError(f"an array of objects of shape {list(sides)} cannot be read")
    return content if sides else content[0]


def _shape(shape: Any) -> tuple[int, ...]:
    sides = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if len(sides) > 32 or any(type(side) is not int or side < 0 for side in sides):
        raise UnsafeCheckpointError(f"an array has the shape {shown(shape)}")
    return sides

"""Shapes of what plain operations make, known before anything is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ni_core.errors import BrokenBundleError

Operation = tuple[Any, ...]
"""A name and its numbers."""

Shape = tuple[int, ...]

_MAX_OPERATIONS = 200
_MAX_NUMBERS = 1 << 27
"""Numbers of one sample between two operations."""

_SHAPELESS = ("relu", "leaky_relu", "tanh", "sigmoid")


def output_shape(z_dim: int, operations: Sequence[Operation]) -> Shape:
    """Shape of one sample behind all operations.

    Args:
        z_dim: Size of z.
        operations: As in the configuration.

    Raises:
        BrokenBundleError: An operation is unknown, or does not fit what comes before it.
    """
    shape: Shape = (z_dim,)
    if len(operations) > _MAX_OPERATIONS:
        raise BrokenBundleError(
            f"{len(operations)} operations are more than {_MAX_OPERATIONS}",
            value=len(operations),
            limit=_MAX_OPERATIONS,
        )
    for index, (name, *rest) in enumerate(operations):
        try:
            shape = _SHAPES[name](shape, *rest) if name in _SHAPES else _same(name, shape)
        except (TypeError, ValueError, KeyError) as error:
            raise BrokenBundleError(
                f"operation {index}, {name} {rest}, does not fit the shape {list(shape)}: {error}",
                value=index,
            ) from error
        sound = all(type(side) is int and side > 0 for side in shape)
        if not sound or math.prod(shape) > _MAX_NUMBERS:
            raise BrokenBundleError(f"operation {index}, {name} {rest}, makes {list(shape)}")
    return shape


def _same(name: str, shape: Shape) -> Shape:
    if name not in _SHAPELESS:
        raise ValueError(f"there are only {', '.join([*_SHAPES, *_SHAPELESS])}")
    return shape


def _linear_shape(shape: Shape, inputs: int, outputs: int) -> Shape:
    _expect(shape == (inputs,), f"it takes {[inputs]}")
    return (outputs,)


def _conv_shape(
    shape: Shape, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
) -> Shape:
    channels, *sides = shape
    _expect(channels == inputs and len(sides) == 2, f"it takes {inputs} channels")
    return (outputs, *((side + 2 * padding - kernel) // stride + 1 for side in sides))


def _conv_transpose_shape(
    shape: Shape, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
) -> Shape:
    channels, *sides = shape
    _expect(channels == inputs and len(sides) == 2, f"it takes {inputs} channels")
    return (outputs, *((side - 1) * stride - 2 * padding + kernel for side in sides))


def _affine_shape(shape: Shape, channels: int) -> Shape:
    _expect(shape[0] == channels, f"it takes {channels} channels")
    return shape


def _reshape_shape(shape: Shape, channels: int, height: int, width: int, layout: str) -> Shape:
    _expect(math.prod(shape) == channels * height * width, "the numbers are not as many")
    _expect(layout in ("CHW", "HWC"), "the order is not CHW or HWC")
    return channels, height, width


def _crop_shape(shape: Shape, height: int, width: int) -> Shape:
    _expect(len(shape) == 3 and height <= shape[1] and width <= shape[2], "it is larger")
    return shape[0], height, width


def _upsample_shape(shape: Shape, factor: int, mode: str) -> Shape:
    channels, height, width = shape
    return channels, height * factor, width * factor


def _expect(fits: bool, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)


_SHAPES: dict[str, Callable[..., Shape]] = {
    "linear": _linear_shape,
    "conv": _conv_shape,
    "conv_transpose": _conv_transpose_shape,
    "affine": _affine_shape,
    "reshape": _reshape_shape,
    "crop": _crop_shape,
    "upsample": _upsample_shape,
}

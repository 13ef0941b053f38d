"""Layouts: which layers of a state dict a plain stack of operations has, in which order.

A layout file is JSON, for what the shapes of the tensors cannot tell, given by the user or found
beside the file as `<file>.json`:

    {"prior": "uniform", "range": "signed", "operations": [
      ["conv_transpose", "deconv.0", 1, 0], ["batch_norm", "deconv.1", 1e-5], ["relu"],
      ["conv", "conv.0", 1, 1], ["leaky_relu", 0.2],
      ["linear", "head"], ["reshape", 3, 32, 32, "CHW"], ["crop", 28, 28],
      ["upsample", 2, "nearest"], ["tanh"]]}

Layers are named by the beginning of their keys; numbers are stride and padding, epsilon, slope,
channels with height and width, height and width, and a factor. `range` is that of the images,
`signed` for [-1, 1] and `unit` for [0, 1]; `prior` is the law of z.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ni_core.checkpoints.document import Document
from ni_core.errors import BrokenBundleError, CheckpointError
from ni_core.generators.sequential import SequentialConfig
from ni_core.generators.sequential_shapes import output_shape

_MAX_BYTES = 1 << 20
_CONVOLUTIONS = ("conv", "conv_transpose")
_FIELDS = {"operations", "range", "prior"}


@dataclass(frozen=True)
class Layout:
    """A stack of operations over the layers of a state dict.

    Attributes:
        operations: As in a layout file.
        range: Range of the images, `signed` or `unit`.
        prior: Law of z, `normal` or `uniform`.
    """

    operations: tuple[tuple[Any, ...], ...]
    range: str = "signed"
    prior: str = "normal"


def read_json(path: Path) -> dict[str, Any]:
    """Read a layout file, or the description of an exported program.

    Raises:
        CheckpointError: It cannot be read, is too long, or is not a JSON object.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path.name} is longer than {_MAX_BYTES} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is not a JSON file: {error}") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{path.name} is a JSON {type(document).__name__}, not an object")
    return document


def description_of(document: Document) -> Mapping[str, Any] | None:
    """What a JSON file says of a document: the given one, or `<file>.json` beside it, or None.

    Raises:
        CheckpointError: The file beside it cannot be read.
    """
    if document.layout is not None:
        return document.layout
    beside = document.path.with_name(f"{document.path.name}.json")
    return read_json(beside) if beside.is_file() else None


def layout_of(document: Mapping[str, Any]) -> Layout:
    """Check a layout file's content.

    Raises:
        CheckpointError: A field is missing, unknown or of the wrong kind.
    """
    unknown = sorted(document.keys() - _FIELDS)
    if unknown or "operations" not in document:
        raise CheckpointError(
            f"a layout has the fields {', '.join(sorted(_FIELDS))}; "
            f"{f'{unknown[0]!r} is unknown' if unknown else 'operations are missing'}"
        )
    operations = document["operations"]
    if not isinstance(operations, list) or not all(
        isinstance(one, list) and one and isinstance(one[0], str) for one in operations
    ):
        raise CheckpointError("the operations of a layout are no list of lists with names")
    rest = {key: str(document[key]) for key in ("range", "prior") if key in document}
    return Layout(tuple(tuple(one) for one in operations), **rest)


@dataclass
class _Stack:
    """What has been put together so far, in our own terms."""

    tensors: Mapping[str, Tensor]
    operations: list[tuple[Any, ...]]
    made: dict[str, Tensor]
    used: set[str]

    def take(self, key: str, *, needed: bool = True) -> Tensor | None:
        """A tensor of the file in double precision."""
        if key not in self.tensors:
            if needed:
                raise CheckpointError(f"the layout asks for {key}, which is missing", value=key)
            return None
        self.used.add(key)
        return self.tensors[key].double()

    def add(self, operation: tuple[Any, ...], weight: Tensor, bias: Tensor) -> None:
        """Append an operation with weights."""
        index = len(self.operations)
        self.operations.append(operation)
        self.made[f"layers.{index}.weight"] = weight.float().contiguous()
        self.made[f"layers.{index}.bias"] = bias.float().contiguous()


def assemble(
    tensors: Mapping[str, Tensor], layout: Layout
) -> tuple[SequentialConfig, dict[str, Tensor], list[str]]:
    """Put a network together from a state dict.

    Args:
        tensors: The state dict.
        layout: Its layers in order.

    Returns:
        Configuration, our tensors, and the keys that no operation uses.

    Raises:
        CheckpointError: A key is missing, or the operations do not fit each other.
    """
    stack = _Stack(tensors, [], {}, set())
    for name, *rest in layout.operations:
        try:
            _add(stack, name, rest)
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            raise CheckpointError(f"the operation {name} {rest} cannot be read: {error}") from error
    try:
        config = _config(stack, layout)
    except BrokenBundleError as error:
        raise CheckpointError(f"the layers do not fit each other: {error}") from error
    left_over = [key for key in tensors if key not in stack.used]
    return config, stack.made, [key for key in left_over if not key.endswith("batches_tracked")]


def _add(stack: _Stack, name: str, rest: list[Any]) -> None:
    if name == "linear":
        weight, bias = _weights(stack, rest[0], dimensions=2, output=0)
        stack.add((name, weight.shape[1], weight.shape[0]), weight, bias)
    elif name in _CONVOLUTIONS:
        transposed = name == "conv_transpose"
        weight, bias = _weights(stack, rest[0], dimensions=4, output=int(transposed))
        sides = tuple(weight.shape[:2]) if transposed else (weight.shape[1], weight.shape[0])
        stack.add((name, *sides, weight.shape[2], int(rest[1]), int(rest[2])), weight, bias)
    elif name == "batch_norm":
        _add_norm(stack, rest[0], float(rest[1]) if len(rest) > 1 else 1e-5)
    else:
        stack.operations.append((name, *rest))


def _weights(stack: _Stack, key: str, dimensions: int, output: int) -> tuple[Tensor, Tensor]:
    weight = cast(Tensor, stack.take(f"{key}.weight"))
    if weight.dim() != dimensions or weight.shape[2:] != weight.shape[3:] * (dimensions // 2):
        raise ValueError(f"{key}.weight has the shape {list(weight.shape)}")
    bias = stack.take(f"{key}.bias", needed=False)
    return weight, weight.new_zeros(weight.shape[output]) if bias is None else bias


def _add_norm(stack: _Stack, key: str, epsilon: float) -> None:
    mean, variance = (cast(Tensor, stack.take(f"{key}.running_{of}")) for of in ("mean", "var"))
    scale = (variance + epsilon).rsqrt()
    weight, bias = (stack.take(f"{key}.{of}", needed=False) for of in ("weight", "bias"))
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    last = stack.operations[-1][0] if stack.operations else None
    if last not in ("linear", *_CONVOLUTIONS):
        stack.add(("affine", len(scale)), scale, shift)
        return
    name = f"layers.{len(stack.operations) - 1}"
    before, sides = stack.made[f"{name}.weight"], [1] * stack.made[f"{name}.weight"].dim()
    sides[int(last == "conv_transpose")] = -1
    stack.made[f"{name}.weight"] = (before.double() * scale.view(sides)).float()
    stack.made[f"{name}.bias"] = (stack.made[f"{name}.bias"].double() * scale + shift).float()


def _config(stack: _Stack, layout: Layout) -> SequentialConfig:
    operations = tuple(stack.operations)
    weighted = [one for one in operations if one[0] in ("linear", *_CONVOLUTIONS)]
    if not weighted:
        raise CheckpointError("the layout has no linear layer and no convolution")
    z_dim = int(weighted[0][1])
    if weighted[0][0] != "linear" and operations[0][0] != "reshape":
        operations = (("reshape", z_dim, 1, 1, "CHW"), *operations)
        stack.made = {_next(name): tensor for name, tensor in stack.made.items()}
    shape = output_shape(z_dim, operations)
    return SequentialConfig(
        shape[-1],
        z_dim,
        operations,
        range=cast(Any, layout.range),
        prior=cast(Any, layout.prior),
    )


def _next(name: str) -> str:
    """The same tensor one operation later."""
    layers, index, kind = name.split(".")
    return f"{layers}.{int(index) + 1}.{kind}"

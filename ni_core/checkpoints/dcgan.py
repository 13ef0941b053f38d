"""DCGAN-type networks (arXiv:1511.06434) whose architecture is read from a bare state dict.

Read without a layout file, because the shapes leave no doubt:

- stacks of transposed convolutions with even kernels, each followed by batch normalisation but
  the last: the first acts on one pixel, the others double the side (stride 2); a last 1x1 kernel
  cuts two pixels off each edge, as in the networks for MNIST that follow PyTorch's example;
- the four transposed convolutions of 3, 4, 3 and 4 px of the common WGAN-GP for MNIST;
- stacks of linear layers that end in a square image;
- the decoder of PyTorch's example of a variational autoencoder.

Hidden activations are then ReLU and the last is tanh (sigmoid for the decoder). All others need a
layout file: strides, activations and the law of z have no shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor

from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.layout import Layout, assemble, description_of, layout_of
from ni_core.checkpoints.state_dicts import find_state_dict
from ni_core.errors import CheckpointError

_NETWORKS = (
    "state_dict",
    "model_state_dict",
    "generator",
    "netG",
    "G",
    "g",
    "generator_state_dict",
)
"""Where a generator's state dict may be in a file; else it is the file."""

_SUFFIXES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

_WGAN_GP = (3, 4, 3, 4)
_WGAN_GP_STRIDES = (2, 1, 2, 2)
_DECODER = ("fc1", "fc21", "fc22", "fc3", "fc4")
_LAST_CUT = 2
"""Padding of a last 1x1 transposed convolution: it cuts so many pixels off each edge."""


_ASSUMED = "hidden activations are taken as ReLU, and z as normal; a layout can say otherwise"
_GAPS = {("linear", "linear"): (2, 3), ("conv", "norm"): (1,), ("norm", "conv"): (2,)}
"""Steps between the indexes of two layers that hold one activation, and perhaps a dropout."""


def read_dcgan(document: Document) -> GeneratorCheckpoint:
    """Read a generator.

    Args:
        document: The file, with its layout if the shapes leave doubt.

    Raises:
        CheckpointError: The shapes leave doubt, or the layout does not fit the tensors.
    """
    tensors = _state_dict(document)
    if tensors is None:
        raise CheckpointError(f"{document.path.name} holds no state dict: {document.summary()}")
    given = description_of(document)
    layout = _inferred(tensors) if given is None else layout_of(given)
    config, made, left_over = assemble(tensors, layout)
    decoder = layout.operations[0][1:2] == ("fc3",)
    if left_over and given is None and not decoder:
        raise CheckpointError(f"left over: {', '.join(left_over)}", value=left_over)
    notes = [f"not used: {', '.join(left_over)}"] if left_over else []
    notes += [_ASSUMED] if given is None else []
    return GeneratorCheckpoint("sequential", config, made, READERS[0].format, tuple(notes))


def _matches(document: Document) -> bool:
    if document.kind not in ("torch", "pickle", "safetensors"):
        return False
    tensors = _state_dict(document)
    if tensors is None or description_of(document) is not None:
        return tensors is not None
    if any(key.rpartition(".")[2] not in _SUFFIXES for key in tensors):
        return False
    kinds = {_kind(tensors, name) for name in _layers(tensors)}
    return bool(kinds & {"linear", "conv"}) and "other" not in kinds


READERS = (
    Reader(
        "dcgan",
        "state dicts of DCGAN-type networks: convolutions, batch norms and linear layers",
        _matches,
        generator=read_dcgan,
        takes_layout=True,
    ),
)


def _state_dict(document: Document) -> dict[str, Tensor] | None:
    return find_state_dict(document.root, _NETWORKS)


def _layers(tensors: Mapping[str, Tensor]) -> list[str]:
    return list(dict.fromkeys(key.rpartition(".")[0] for key in tensors))


def _kind(tensors: Mapping[str, Tensor], name: str) -> str:
    weight = tensors.get(f"{name}.weight")
    if f"{name}.running_mean" in tensors:
        return "norm"
    return {2: "linear", 4: "conv"}.get(-1 if weight is None else weight.dim(), "other")


def _inferred(tensors: Mapping[str, Tensor]) -> Layout:
    names = _layers(tensors)
    kinds = [_kind(tensors, name) for name in names]
    if tuple(names) == _DECODER and set(kinds) == {"linear"}:
        return Layout(_perceptron(tensors, list(_DECODER[-2:]), "sigmoid"), range="unit")
    if set(kinds) == {"linear"} and not _doubtful(names, kinds):
        return Layout(_perceptron(tensors, names, "tanh"))
    if set(kinds) <= {"conv", "norm"} and not _doubtful(names, kinds):
        strides = _strides(tensors, names, kinds)
        if strides is not None:
            return Layout(_transposed(names, kinds, strides))
    described = ", ".join(
        f"{name} {kind} {list(tensors[f'{name}.weight'].shape)}"
        for name, kind in zip(names, kinds, strict=True)
        if kind != "norm"
    )
    raise CheckpointError(
        "the shapes leave strides or activations in doubt; give a layout (JSON) that lists the "
        f"operations. The layers are {described}",
        value=names,
    )


def _doubtful(names: list[str], kinds: list[str]) -> bool:
    """Tell whether the indexes of one list of layers leave no room for activations, or too much."""
    places = [name.rpartition(".") for name in names]
    if len({parent for parent, _, _ in places}) > 1 or not all(i.isdigit() for *_, i in places):
        return False
    indexes = [int(index) for *_, index in places]
    gaps = [after - before for before, after in pairwise(indexes)]
    return any(
        gap not in _GAPS.get(kind, (gap,)) for gap, kind in zip(gaps, pairwise(kinds), strict=True)
    )


def _perceptron(
    tensors: Mapping[str, Tensor], names: list[str], last: str
) -> tuple[tuple[Any, ...], ...]:
    numbers = tensors[f"{names[-1]}.weight"].shape[0]
    operations: list[tuple[Any, ...]] = []
    for name in names:
        operations += [("linear", name), ("relu",)]
    for channels in (1, 3):
        side = math.isqrt(numbers // channels)
        if channels * side * side == numbers and side > 1:
            return (*operations[:-1], (last,), ("reshape", channels, side, side, "CHW"))
    raise CheckpointError(f"{numbers} numbers are no square image of 1 or 3 channels")


def _strides(
    tensors: Mapping[str, Tensor], names: list[str], kinds: list[str]
) -> list[tuple[int, int]] | None:
    """Stride and padding of each transposed convolution, or None if the shapes leave doubt."""
    convolutions = [name for name, kind in zip(names, kinds, strict=True) if kind == "conv"]
    shapes = [tuple(tensors[f"{name}.weight"].shape) for name in convolutions]
    chained = all(one[1] == two[0] for one, two in pairwise(shapes))
    normed = kinds == ["conv", "norm"] * (len(shapes) - 1) + ["conv"]
    if not chained or not normed or shapes[-1][1] not in (1, 3):
        return None
    kernels = tuple(shape[2] for shape in shapes)
    if kernels == _WGAN_GP and shapes[-1][1] == 1:
        return [(stride, 0) for stride in _WGAN_GP_STRIDES]
    strides = [(1, 0)] + [(2, kernel // 2 - 1) for kernel in kernels[1:]]
    if kernels[-1] == 1:
        strides[-1] = (1, _LAST_CUT)
    doubled = kernels[1:-1] if kernels[-1] == 1 else kernels[1:]
    return strides if doubled and not any(kernel % 2 for kernel in doubled) else None


def _transposed(
    names: list[str], kinds: list[str], strides: list[tuple[int, int]]
) -> tuple[tuple[Any, ...], ...]:
    operations: list[tuple[Any, ...]] = []
    remaining = iter(strides)
    for name, kind in zip(names, kinds, strict=True):
        if kind == "conv":
            operations.append(("conv_transpose", name, *next(remaining)))
        else:
            operations += [("batch_norm", name, 1e-5), ("relu",)]
    return (*operations, ("tanh",))

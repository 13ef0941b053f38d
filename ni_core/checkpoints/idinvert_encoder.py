"""Encoders of idinvert: a bare state dict of numbered blocks.

Source: In-Domain GAN Inversion, arXiv:2004.00049.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from ni_core.checkpoints.checkpoint import EncoderCheckpoint, Reader
from ni_core.checkpoints.conversion import Rule, convert, copy, given, scaled
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.folding import folded_bias, folded_weight, norm_keys
from ni_core.checkpoints.state_dicts import find_state_dict
from ni_core.encoders.families import empty_encoder
from ni_core.encoders.idinvert import IdinvertEncoder, IdinvertEncoderConfig
from ni_core.errors import CheckpointError

_FORMAT = "idinvert-encoder"
_MARKS = ("block0.conv.weight", "block1.conv1.weight", "block1.wscale1.bias")


def matches(document: Document) -> bool:
    """Whether a document is an encoder of idinvert."""
    return find_state_dict(document.root, marks=_MARKS) is not None


def read_encoder(document: Document) -> EncoderCheckpoint:
    """Read the encoder.

    Raises:
        CheckpointError: Keys are missing or left over, or shapes do not fit each other.
    """
    tensors = find_state_dict(document.root, marks=_MARKS) or {}
    last = sum(f"block{index}.conv1.weight" in tensors for index in range(1, len(tensors))) + 1
    config = _config(tensors, last)
    rules = {**_layer("stem", "block0.conv", None, "block0.bn", tensors), **_linear(last, tensors)}
    for index in range(1, last):
        rules |= _unit(f"units.{index - 1}", f"block{index}", tensors)
    network = empty_encoder(IdinvertEncoder.family, config)
    counters = [key for key in tensors if key.endswith(".num_batches_tracked")]
    made = convert(tensors, rules, network, ignored=counters)
    return EncoderCheckpoint(IdinvertEncoder.family, config, made, _FORMAT)


READERS = (
    Reader(
        _FORMAT,
        "encoders of idinvert: a state dict of block0, block1, ...",
        matches,
        encoder=read_encoder,
    ),
)


def _config(tensors: Mapping[str, Tensor], last: int) -> IdinvertEncoderConfig:
    """Each block after the first halves the sides, down to 4 pixels; the rest follows."""
    matrix = tensors.get(f"block{last}.fc.weight")
    if matrix is None:
        raise CheckpointError(f"the encoder has no block{last}.fc.weight")
    channels = [int(tensors["block0.conv.weight"].shape[0])]
    channels += [int(tensors[f"block{index}.conv2.weight"].shape[0]) for index in range(1, last)]
    num_layers = 2 * (last + 1) - 2
    if matrix.shape[0] % num_layers:
        raise CheckpointError(
            f"block{last}.fc.weight gives {matrix.shape[0]} numbers, which are not {num_layers} "
            f"rows, as a picture of {4 << (last - 1)} pixels has",
            value=int(matrix.shape[0]),
            limit=num_layers,
        )
    return IdinvertEncoderConfig(num_layers, int(matrix.shape[0]) // num_layers, tuple(channels))


def _unit(ours: str, theirs: str, tensors: Mapping[str, Tensor]) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for index in (1, 2):
        names = (f"{theirs}.conv{index}", f"{theirs}.wscale{index}.bias", f"{theirs}.bn{index}")
        rules |= _layer(f"{ours}.conv{index}", *names, tensors)
    if f"{theirs}.conv.weight" in tensors:
        rules |= _layer(f"{ours}.shortcut", f"{theirs}.conv", None, f"{theirs}.bn", tensors)
    return rules


def _layer(
    ours: str, conv: str, bias: str | None, norm: str, tensors: Mapping[str, Tensor]
) -> dict[str, Rule]:
    """A convolution with its bias and its batch norm, each of which may be absent."""
    weight, norm = f"{conv}.weight", f"{norm}.bn"
    if norm_keys(norm)[0] in tensors:
        made = folded_weight(weight, norm), folded_bias(norm, bias)
    elif bias is not None:
        made = copy(weight), copy(bias)
    else:
        made = copy(weight), given(tensors[weight].new_zeros(tensors[weight].shape[0]))
    return {f"{ours}.weight": made[0], f"{ours}.bias": made[1]}


def _linear(last: int, tensors: Mapping[str, Tensor]) -> dict[str, Rule]:
    matrix = f"block{last}.fc.weight"
    gain = 1 / math.sqrt(tensors[matrix].shape[1])
    norm = f"block{last}.bn.bn"
    rules = _layer("linear", f"block{last}.fc", None, f"block{last}.bn", tensors)
    if norm_keys(norm)[0] not in tensors:
        return {**rules, "linear.weight": scaled(matrix, gain)}
    folded = rules["linear.weight"]
    weight = Rule(folded.keys, lambda *parts: folded.function(*parts) * gain)
    return {**rules, "linear.weight": weight}

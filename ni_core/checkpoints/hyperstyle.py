"""Files of HyperStyle (arXiv:2111.15666): a hypernetwork and the StyleGAN2 that it tunes.

The decoder is read like that of pSp. The hypernetwork makes a generator for each photo, so it is
no encoder of a model; `load_hyperstyle` gives it to Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.checkpoints import psp
from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.conversion import Rule, convert, copy, given, scaled
from ni_core.checkpoints.document import Document, open_document
from ni_core.checkpoints.psp_encoder import encoder_tensors
from ni_core.checkpoints.state_dicts import count, size
from ni_core.checkpoints.stylegan2_shapes import equalized
from ni_core.encoders.hyperstyle import HyperStyle, HyperStyleConfig, Target
from ni_core.encoders.psp import PspConfig
from ni_core.errors import CheckpointError
from ni_core.generators import Generator
from ni_core.generators.unfilled import unfilled

_FORMAT = "hyperstyle"
_HYPERNETWORK, _DECODER = "hypernet.", "decoder."
_BLOCKS, _SHARED = "refinement_blocks", "shared_weight_hypernet"
_PARTS = {
    "channel_weight": "w2",
    "channel_bias": "b2",
    "kernel_weight": "w1",
    "kernel_bias": "b1",
}
_INPUT, _CARS = (256, 256), (192, 256)
"""Height and width of the picture in pixels; nothing in a file tells it but the data set."""

_TRAINED_PASSES = 5
"""Passes unless the options tell another number."""


def matches(document: Document) -> bool:
    """Whether a document is a file of HyperStyle."""
    return bool(_part(document, _HYPERNETWORK)) and bool(_part(document, _DECODER))


def read_generator(document: Document) -> GeneratorCheckpoint:
    """Read the decoder.

    Raises:
        CheckpointError: It is not a StyleGAN2.
    """
    found = psp.read_generator(document)
    note = "the hypernetwork, which makes a generator for each photo, is left out"
    return replace(found, format=_FORMAT, notes=(*found.notes, note))


def read_hyperstyle(document: Document) -> tuple[HyperStyle, GeneratorCheckpoint]:
    """Read the hypernetwork and the decoder; an encoder beside them, `w_encoder.*`, is left out.

    Raises:
        CheckpointError: It is another one, or keys are missing or left over.
    """
    tensors, generator = _part(document, _HYPERNETWORK), read_generator(document)
    numbers = _numbers(tensors)
    targets = [_target(tensors, number, generator.tensors) for number in numbers]
    config = _config(tensors, targets, document.root.get("opts"))
    with unfilled():
        network = HyperStyle(config)
    rules = _rules(tensors, config, numbers)
    # Each block that uses the shared layer holds it once more.
    repeated = [f"{_BLOCKS}.{number}.hypernet." for number in numbers]
    made = convert(tensors, rules, network, ignored=[*repeated, f"{_SHARED}.", *_body(tensors)])
    network.load_state_dict(made, assign=True)
    return network.freeze(), generator


def load_hyperstyle(path: str | Path) -> tuple[HyperStyle, Generator]:
    """Load a hypernetwork and the generator that it tunes, on the CPU.

    Args:
        path: The file, recognised from its content.

    Raises:
        CheckpointError: The file cannot be read, or is none of HyperStyle.
        UnsafeCheckpointError: Reading it would run code or take unbounded memory.
    """
    document = open_document(Path(path))
    if not matches(document):
        raise CheckpointError(f"{document.path.name} is no file of HyperStyle")
    network, generator = read_hyperstyle(document)
    return network, generator.build()


READERS = (
    Reader(
        _FORMAT,
        "HyperStyle files: state_dict with hypernet.* and decoder.*, opts, latent_avg",
        matches,
        read_generator,
    ),
)


def _part(document: Document, prefix: str) -> dict[str, Tensor]:
    root = document.root
    found = root.get("state_dict") if isinstance(root, Mapping) else None
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(tensor, Tensor) and str(key).startswith(prefix)
    }


def _body(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    others = (f"{_BLOCKS}.", f"{_SHARED}.")
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(others)}


def _numbers(tensors: Mapping[str, Tensor]) -> list[int]:
    """Numbers of the convolutions that are tuned."""
    pattern = f"{_BLOCKS}.{{}}.convs.0.weight"
    found = [one for one in range(count(tensors, pattern)) if pattern.format(one) in tensors]
    if not found:
        raise CheckpointError(f"the hypernetwork has no {pattern.format(0)}", value=_BLOCKS)
    return found


def _target(tensors: Mapping[str, Tensor], number: int, decoder: Mapping[str, Tensor]) -> Target:
    name, block = _module_name(number), f"{_BLOCKS}.{number}"
    if f"{name}.weight" not in decoder:
        raise CheckpointError(
            f"the hypernetwork tunes convolution {number}, which the decoder lacks", value=number
        )
    return Target(
        name=name,
        shape=tuple(decoder[f"{name}.weight"].shape),
        shared=f"{block}.linear.weight" in tensors,
        hidden=size(tensors, f"{block}.convs.0.weight", 0),
    )


def _module_name(number: int) -> str:
    """Our name of a convolution, counted together with the RGB outputs in the order they run.

    First there are a convolution and an RGB output, then for each block two and one.
    """
    block, place = divmod(number + 1, 3)
    return f"to_rgbs.{block}.conv" if place == 2 else f"layers.{2 * block + place - 1}.conv"


def _config(tensors: Mapping[str, Tensor], targets: list[Target], opts: Any) -> HyperStyleConfig:
    told: Mapping[str, Any] = opts if isinstance(opts, Mapping) else {}
    units = range(max(count(tensors, "body.{}.conv2.weight"), 1))
    widths = groupby(size(tensors, f"body.{unit}.conv2.weight", 0) for unit in units)
    groups = {width: len([*same]) for width, same in widths}
    return HyperStyleConfig(
        targets=tuple(targets),
        code_dim=size(tensors, f"{_SHARED}.w1", 0),
        widths=tuple(groups),
        units=tuple(groups.values()),
        input_shape=_CARS if "cars" in str(told.get("dataset_type", "")) else _INPUT,
        iterations=int(told.get("n_iters_per_batch", _TRAINED_PASSES)),
    )


def _rules(
    tensors: Mapping[str, Tensor], config: HyperStyleConfig, numbers: list[int]
) -> dict[str, Rule]:
    rules = _body_rules(tensors, config)
    if any(target.shared for target in config.targets):
        rules |= {f"shared.{ours}": copy(f"{_SHARED}.{part}") for ours, part in _PARTS.items()}
    for index, (number, target) in enumerate(zip(numbers, config.targets, strict=True)):
        ours, theirs = f"heads.{index}", f"{_BLOCKS}.{number}"
        for conv in range(len(config.strides(target))):
            for part in ("weight", "bias"):
                rules[f"{ours}.convs.{conv}.{part}"] = copy(f"{theirs}.convs.{2 * conv}.{part}")
        rules |= _linear_rules(f"{ours}.linear", theirs, target, tensors)
    return rules


def _body_rules(tensors: Mapping[str, Tensor], config: HyperStyleConfig) -> dict[str, Rule]:
    """The body is that of an encoder of ReStyle, here one without rows."""
    encoder = PspConfig(
        0, body="resnet", widths=config.widths, units=config.units, head="last", refines=True
    )
    made = encoder_tensors(_body(tensors), encoder, torch.zeros(0, encoder.w_dim))
    return {name: given(tensor) for name, tensor in made.items() if name.startswith("body.")}


def _linear_rules(
    ours: str, block: str, target: Target, tensors: Mapping[str, Tensor]
) -> dict[str, Rule]:
    """The last layer of a head: a 1x1 convolution unless it makes a code for the shared layer."""
    if target.shared:
        key = f"{block}.linear"
        weight = scaled(f"{key}.weight", equalized(f"{key}.weight", tensors))
    else:
        key = f"{block}.output.{1 if target.shape[-1] > 1 else 0}"
        weight = Rule((f"{key}.weight",), lambda tensor: tensor.flatten(1))
    return {f"{ours}.weight": weight, f"{ours}.bias": copy(f"{key}.bias")}

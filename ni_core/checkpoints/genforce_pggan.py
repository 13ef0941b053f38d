"""PGGAN in genforce's layout, which SeFa's files have (arXiv:1710.10196)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise

from torch import Tensor

from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.conversion import Rule, convert, copy
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.genforce import unwrap
from ni_core.checkpoints.growth import Growth, convolution, fused, growth, nearest, rgb_rules
from ni_core.checkpoints.state_dicts import count, size
from ni_core.generators.families import empty_network
from ni_core.generators.pggan import PGGAN, PGGANConfig

_LOD = "lod"
_DOUBT = "equal widths do not tell how layers upsample: taken as a convolution after nearest pixels"


def _matches(document: Document) -> bool:
    marks = {"layer0.weight", "layer1.weight", "output0.weight"}
    return marks <= (unwrap(document) or {}).keys()


def _read(document: Document) -> GeneratorCheckpoint:
    tensors = unwrap(document) or {}
    grown = growth(tensors, _LOD, count(tensors, "output{}.weight"))
    widths = [size(tensors, f"layer{2 * block}.bias", 0) for block in range(grown.blocks)]
    config = PGGANConfig(
        resolution=grown.resolution,
        z_dim=size(tensors, "layer0.weight", 1),
        channels=tuple(widths),
        previous_rgb=grown.previous_rgb,
    )
    made = convert(
        tensors,
        _rules(tensors, config),
        empty_network(PGGAN.family, config),
        ignored=_ignored(grown),
    )
    doubtful = config.resolution > 4 and _is_fused(tensors, config.channels) is None
    notes = (*grown.notes, _DOUBT) if doubtful else grown.notes
    return GeneratorCheckpoint(PGGAN.family, config, made, READERS[0].format, notes)


READERS = (
    Reader(
        "genforce-pggan",
        "genforce and SeFa files of PGGAN: layer*.weight, output*.weight, lod",
        _matches,
        _read,
    ),
)


def _rules(tensors: Mapping[str, Tensor], config: PGGANConfig) -> dict[str, Rule]:
    rules = {
        "first.weight": Rule(("layer0.weight",), _first),
        "first.bias": copy("layer0.bias"),
    }
    fuses = _is_fused(tensors, config.channels)
    upsampling = partial(fused, axes="iohw") if fuses else nearest
    for index in range(1, 2 * len(config.channels)):
        rule = convolution if index % 2 else upsampling
        rules[f"layers.{index - 1}.weight"] = rule(f"layer{index}.weight")
        rules[f"layers.{index - 1}.bias"] = copy(f"layer{index}.bias")
    last = len(config.channels) - 1
    rules |= rgb_rules("to_rgb", *_rgb_keys(last))
    if config.previous_rgb:
        rules |= rgb_rules("to_previous_rgb", *_rgb_keys(last - 1))
    return rules


def _is_fused(tensors: Mapping[str, Tensor], channels: tuple[int, ...]) -> bool | None:
    """Whether upsampling layers are transposed convolutions, which are stored inputs first.

    None where the widths never change: then the shapes cannot tell.
    """
    for block, (inputs, outputs) in enumerate(pairwise(channels), start=1):
        key = f"layer{2 * block}.weight"
        if inputs != outputs and key in tensors:
            return tensors[key].shape[:2] == (inputs, outputs)
    return None


def _rgb_keys(block: int) -> tuple[str, str]:
    return f"output{block}.weight", f"output{block}.bias"


def _ignored(grown: Growth) -> list[str]:
    """Keys of lower RGB outputs, and of what is not in use."""
    outputs = [f"output{block}." for block in range(grown.all_blocks)]
    layers = range(2 * grown.blocks, 2 * grown.all_blocks)
    return [_LOD, *outputs, *(f"layer{index}." for index in layers)]


def _first(weight: Tensor) -> Tensor:
    """A 4x4 convolution of one padded pixel, as the transposed convolution of that pixel."""
    gain = math.sqrt(2 / (16 * weight.shape[1]))
    return weight.flip(2, 3).transpose(0, 1) * gain

"""The first StyleGAN in genforce's layout, which SeFa's files have (arXiv:1812.04948)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.conversion import Rule, copy, reshaped
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.genforce import unwrap
from ni_core.checkpoints.growth import (
    FUSED_FROM,
    Growth,
    convolution,
    fused,
    growth,
    nearest,
    rgb_rules,
)
from ni_core.checkpoints.state_dicts import count, size
from ni_core.checkpoints.stylegan1_rules import mapping_rules, style_rules, stylegan1_checkpoint
from ni_core.generators.stylegan1 import StyleGAN1Config

LOD = "synthesis.lod"
"""Key of the level of detail."""

_MEAN = "truncation.w_avg"


@dataclass(frozen=True)
class Naming:
    """How genforce and its offspring call the tensors; `{}` is an index.

    Attributes:
        dense: Weight and bias of a layer of the mapping network.
        epilogue: What stands before bias and noise of a layer.
        style: Weight and bias of a style's affine part.
        weight: Weight of a convolution.
        fused: Weight of a transposed convolution, if it has a name of its own, with axes HWIO.
        rgb: Weight of an RGB output.
    """

    dense: tuple[str, str]
    epilogue: str
    style: tuple[str, str]
    weight: str
    fused: str
    rgb: str


_NAMING = Naming(
    dense=("mapping.dense{}.weight", "mapping.dense{}.bias"),
    epilogue="synthesis.layer{}.",
    style=("synthesis.layer{}.style.weight", "synthesis.layer{}.style.bias"),
    weight="synthesis.layer{}.weight",
    fused="",
    rgb="synthesis.output{}.weight",
)


def genforce_stylegan1(
    tensors: Mapping[str, Tensor],
    naming: Naming,
    grown: Growth,
    *,
    format: str,
    tanh: bool = False,
    ignored: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> GeneratorCheckpoint:
    """Read a generator.

    Args:
        tensors: Its state dict.
        naming: How they are called.
        grown: How many resolutions are in use.
        format: Name of the format.
        tanh: Whether a tanh bounds the RGB output.
        ignored: Further keys that are of no use.
        notes: What the caller found out.

    Raises:
        CheckpointError: Keys are missing or left over, or a shape is wrong.
    """
    config = _config(tensors, naming, grown, tanh=tanh)
    rules = mapping_rules(_indexed(naming.dense, config.mapping_layers), rate=0.01)
    rules["constant"] = copy("synthesis.layer0.const")
    for index in range(config.num_layers):
        rules |= _layer_rules(tensors, naming, index)
    last = grown.blocks - 1
    rules |= rgb_rules("to_rgb", *_rgb_keys(naming, last))
    if config.previous_rgb:
        rules |= rgb_rules("to_previous_rgb", *_rgb_keys(naming, last - 1))
    return stylegan1_checkpoint(
        tensors,
        config,
        rules,
        mean=_MEAN,
        format=format,
        ignored=[*_ignored(grown), *ignored],
        notes=(*grown.notes, *notes),
    )


def _matches(document: Document) -> bool:
    marks = {_NAMING.style[0].format(0), "synthesis.layer0.const"}
    return marks <= (unwrap(document) or {}).keys()


def _read(document: Document) -> GeneratorCheckpoint:
    tensors = unwrap(document) or {}
    grown = growth(tensors, LOD, count(tensors, _NAMING.rgb))
    return genforce_stylegan1(tensors, _NAMING, grown, format=READERS[0].format)


READERS = (
    Reader(
        "genforce-stylegan1",
        "genforce and SeFa files of the first StyleGAN: mapping.dense*, synthesis.layer*.style.*",
        _matches,
        _read,
    ),
)


def _config(
    tensors: Mapping[str, Tensor], naming: Naming, grown: Growth, *, tanh: bool
) -> StyleGAN1Config:
    weight = naming.dense[0]
    last = weight.format(count(tensors, weight) - 1)
    w_dim = size(tensors, naming.style[0].format(0), 1)
    firsts = [f"{naming.epilogue.format(2 * block)}bias" for block in range(grown.blocks)]
    return StyleGAN1Config(
        resolution=grown.resolution,
        z_dim=size(tensors, weight.format(0), 1),
        w_dim=w_dim,
        mapping_layers=count(tensors, weight),
        mapping_width=size(tensors, last, 1),
        channels=tuple(size(tensors, key, 0) for key in firsts),
        row_mapping=size(tensors, last, 0) != w_dim,
        tanh=tanh,
        previous_rgb=grown.previous_rgb,
    )


def _layer_rules(tensors: Mapping[str, Tensor], naming: Naming, index: int) -> dict[str, Rule]:
    name, side = f"layers.{index}", 4 << index // 2
    epilogue = naming.epilogue.format(index)
    weight, bias = (key.format(index) for key in naming.style)
    rules = style_rules(name, weight, bias)
    rules[f"{name}.bias"] = copy(f"{epilogue}bias")
    rules[f"{name}.noise_strength"] = copy(f"{epilogue}apply_noise.weight")
    rules[f"noise_{index}"] = reshaped(f"{epilogue}apply_noise.noise", side, side)
    if index > 0:
        rules[f"{name}.weight"] = _weight_rule(tensors, naming, index)
    return rules


def _weight_rule(tensors: Mapping[str, Tensor], naming: Naming, index: int) -> Rule:
    key = naming.weight.format(index)
    if index % 2:
        return convolution(key)
    if naming.fused:
        own = naming.fused.format(index)
        return fused(own, "hwio") if own in tensors else nearest(key)
    return fused(key) if 4 << index // 2 >= FUSED_FROM else nearest(key)


def _indexed(keys: tuple[str, str], number: int) -> list[tuple[str, str]]:
    return [(keys[0].format(index), keys[1].format(index)) for index in range(number)]


def _rgb_keys(naming: Naming, block: int) -> tuple[str, str]:
    return naming.rgb.format(block), f"synthesis.output{block}.bias"


def _ignored(grown: Growth) -> list[str]:
    """Keys of blurs, whose filter is fixed, of lower RGB outputs, and of what is not in use."""
    blurs = [f"synthesis.layer{2 * block}.blur." for block in range(1, grown.blocks)]
    outputs = [f"synthesis.output{block}." for block in range(grown.all_blocks)]
    layers = range(2 * grown.blocks, 2 * grown.all_blocks)
    return [LOD, *blurs, *outputs, *(f"synthesis.layer{index}." for index in layers)]

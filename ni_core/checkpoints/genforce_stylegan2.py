"""StyleGAN2 of genforce and SeFa (.pth)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ni_core.checkpoints.checkpoint import W_AVG, GeneratorCheckpoint, Reader, with_w_avg
from ni_core.checkpoints.conversion import (
    NO_NOISE_NOTE,
    Rule,
    convert,
    copy,
    given,
    scaled,
)
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.genforce import unwrap
from ni_core.checkpoints.state_dicts import count, size
from ni_core.checkpoints.stylegan2_shapes import (
    MAPPING_GAIN,
    equalized,
    has_noise,
    noise_rule,
    taps_of,
)
from ni_core.generators.families import empty_network
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config

FORMAT = "genforce-stylegan2"

_MARKS = frozenset({"synthesis.early_layer.const", "synthesis.layer0.style.weight"})
"""Keys that only this layout has."""

_MEAN = "truncation.w_avg"
_NOISE = "synthesis.layer{}.noise"


def _matches(document: Document) -> bool:
    tensors = unwrap(document)
    return tensors is not None and tensors.keys() >= _MARKS


def _read(document: Document) -> GeneratorCheckpoint:
    tensors = unwrap(document)
    assert tensors is not None
    config = _config(tensors)
    has_mean = _MEAN in tensors
    mean = copy(_MEAN) if has_mean else given(torch.zeros(config.w_dim))
    rules = {**_rules(tensors, config), W_AVG: mean}
    kernels = [key for key in tensors if key.endswith(".kernel")]
    network = empty_network(StyleGAN2.family, config)
    made = convert(tensors, rules, network, ignored=kernels)
    if not has_mean:
        del made[W_AVG]
    notes = () if has_noise(tensors, _NOISE) else (NO_NOISE_NOTE,)
    return with_w_avg(GeneratorCheckpoint(StyleGAN2.family, config, made, FORMAT, notes))


def _config(tensors: Mapping[str, Tensor]) -> StyleGAN2Config:
    depth = count(tensors, "mapping.dense{}.weight")
    blocks = max((count(tensors, "synthesis.layer{}.weight") - 1) // 2, 1)
    hidden = size(tensors, "mapping.dense0.weight", 0)
    w_dim = size(tensors, f"mapping.dense{depth - 1}.weight", 0)
    rows = [0, *range(1, 2 * blocks, 2)]
    return StyleGAN2Config(
        resolution=4 << blocks,
        z_dim=size(tensors, "mapping.dense0.weight", 1),
        w_dim=w_dim,
        mapping_layers=depth,
        channels=tuple(size(tensors, f"synthesis.layer{row}.weight", 0) for row in rows),
        filter=taps_of(tensor for key, tensor in tensors.items() if key.endswith(".kernel")),
        mapping_width=None if hidden == w_dim else hidden,
    )


def _rules(tensors: Mapping[str, Tensor], config: StyleGAN2Config) -> dict[str, Rule]:
    rules = {"constant": copy("synthesis.early_layer.const")}
    for index in range(config.mapping_layers):
        theirs, ours = f"mapping.dense{index}", f"mapping.layers.{index}"
        gain = equalized(f"{theirs}.weight", tensors, multiplier=MAPPING_GAIN)
        rules[f"{ours}.weight"] = scaled(f"{theirs}.weight", gain)
        rules[f"{ours}.bias"] = scaled(f"{theirs}.bias", MAPPING_GAIN)
    for index in range(2 * len(config.channels) - 1):
        theirs, ours = f"synthesis.layer{index}", f"layers.{index}"
        rules |= _convolution(theirs, ours, tensors, turned=index % 2 == 1)
        rules[f"{ours}.noise_strength"] = Rule((f"{theirs}.noise_strength",), Tensor.squeeze)
        rules[f"{ours}.noise"] = noise_rule(tensors, _NOISE, index)
    for index in range(len(config.channels)):
        rules |= _convolution(f"synthesis.output{index}", f"to_rgbs.{index}", tensors)
    return rules


def _convolution(
    theirs: str, ours: str, tensors: Mapping[str, Tensor], *, turned: bool = False
) -> dict[str, Rule]:
    """Rules of a layer; the kernels of those that double the resolution are turned around."""
    weight, affine = f"{theirs}.weight", f"{theirs}.style.weight"
    gain, axes = equalized(weight, tensors), (2, 3) if turned else ()
    return {
        f"{ours}.conv.weight": Rule((weight,), lambda tensor: tensor.flip(axes) * gain),
        f"{ours}.conv.affine.weight": scaled(affine, equalized(affine, tensors)),
        f"{ours}.conv.affine.bias": Rule((f"{theirs}.style.bias",), lambda bias: bias + 1),
        f"{ours}.bias": copy(f"{theirs}.bias"),
    }


READERS = (
    Reader(
        format=FORMAT,
        meaning="StyleGAN2 of genforce or SeFa (.pth), published or trained",
        matches=_matches,
        generator=_read,
    ),
)

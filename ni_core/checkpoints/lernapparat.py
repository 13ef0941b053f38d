"""The first StyleGAN in lernapparat's layout, which Image2StyleGAN uses (arXiv:1812.04948)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.conversion import NO_NOISE_NOTE, Rule, copy, given, seeded_noise
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.growth import FUSED_FROM, convolution, fused, nearest, rgb_rules
from ni_core.checkpoints.state_dicts import count, find_state_dict, size
from ni_core.checkpoints.stylegan1_rules import mapping_rules, style_rules, stylegan1_checkpoint
from ni_core.generators.stylegan1 import StyleGAN1Config

_DENSE = ("g_mapping.dense{}.weight", "g_mapping.dense{}.bias")
_CONSTANT = "g_synthesis.blocks.4x4.const"


def _matches(document: Document) -> bool:
    return _state_dict(document) is not None


def _read(document: Document) -> GeneratorCheckpoint:
    tensors = _state_dict(document) or {}
    config = _config(tensors)
    dense = range(config.mapping_layers)
    rules = mapping_rules(((_DENSE[0].format(i), _DENSE[1].format(i)) for i in dense), rate=0.01)
    rules["constant"] = copy(_CONSTANT)
    for index in range(config.num_layers):
        rules |= _layer_rules(index)
    rules |= rgb_rules("to_rgb", "g_synthesis.torgb.weight", "g_synthesis.torgb.bias")
    return stylegan1_checkpoint(
        tensors,
        config,
        rules,
        mean="truncation.avg_latent",
        format=READERS[0].format,
        ignored=[f"{_block(2 * block)}.conv0_up.intermediate.kernel" for block in range(1, 9)],
        notes=(NO_NOISE_NOTE,),
    )


READERS = (
    Reader(
        "lernapparat-stylegan1",
        "lernapparat's and Image2StyleGAN's files of the first StyleGAN: g_mapping.*, "
        "g_synthesis.blocks.*",
        _matches,
        _read,
    ),
)


def _state_dict(document: Document) -> dict[str, Tensor] | None:
    return find_state_dict(document.root, marks=[_CONSTANT])


def _config(tensors: Mapping[str, Tensor]) -> StyleGAN1Config:
    layers = count(tensors, _DENSE[0])
    blocks = 1
    while f"{_block(2 * blocks)}.conv0_up.weight" in tensors:
        blocks += 1
    firsts = [_CONSTANT, *(f"{_block(2 * block)}.conv0_up.weight" for block in range(1, blocks))]
    return StyleGAN1Config(
        resolution=2 << blocks,
        z_dim=size(tensors, _DENSE[0].format(0), 1),
        w_dim=size(tensors, _DENSE[0].format(layers - 1), 0),
        mapping_layers=layers,
        mapping_width=size(tensors, _DENSE[0].format(layers - 1), 1),
        channels=tuple(size(tensors, key, -4 if index else 1) for index, key in enumerate(firsts)),
        epsilon=1e-5,
    )


def _layer_rules(index: int) -> dict[str, Rule]:
    name, side, block = f"layers.{index}", 4 << index // 2, _block(index)
    part = f"{block}.epi{index % 2 + 1}"
    rules = style_rules(name, f"{part}.style_mod.lin.weight", f"{part}.style_mod.lin.bias")
    rules[f"{name}.noise_strength"] = copy(f"{part}.top_epi.noise.weight")
    rules[f"noise_{index}"] = given(seeded_noise(side, index))
    if index == 0:
        rules[f"{name}.bias"] = copy(f"{block}.bias")
        return rules
    layer = f"{block}.{_convolution(index)}"
    rules[f"{name}.bias"] = copy(f"{layer}.bias")
    rules[f"{name}.weight"] = _weight_rule(f"{layer}.weight", index)
    return rules


def _weight_rule(key: str, index: int) -> Rule:
    if index % 2:
        return convolution(key)
    return fused(key) if 4 << index // 2 >= FUSED_FROM else nearest(key)


def _convolution(index: int) -> str:
    if index == 1:
        return "conv"
    return "conv1" if index % 2 else "conv0_up"


def _block(index: int) -> str:
    side = 4 << index // 2
    return f"g_synthesis.blocks.{side}x{side}"

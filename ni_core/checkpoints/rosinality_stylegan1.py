"""The first StyleGAN of rosinality/style-based-gan-pytorch (arXiv:1812.04948).

One w and one noise map per resolution. A file has all nine resolutions, trained or not, and does
not say how many: see `read_rosinality_stylegan1`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.conversion import NO_NOISE_NOTE, Rule, copy, given, seeded_noise
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.growth import convolution, equalized, fused, nearest, rgb_rules
from ni_core.checkpoints.state_dicts import count, find_state_dict, size
from ni_core.checkpoints.stylegan1_rules import mapping_rules, stylegan1_checkpoint
from ni_core.errors import CheckpointError
from ni_core.generators.stylegan1 import StyleGAN1Config

_NAMES = ("g_running", "generator")
"""Generators of a file, the preferred one first: the running mean makes better pictures."""

_CONSTANT = "generator.progression.0.conv1.input"
_GAIN = math.sqrt(2)
"""Gain of every weight, also where other layouts have 1."""


def read_rosinality_stylegan1(
    document: Document, *, resolution: int | None = None, alpha: float = 1.0
) -> GeneratorCheckpoint:
    """Read a generator.

    Args:
        document: The file.
        resolution: Side of the image in pixels; None for the largest that was trained. Training
            starts from biases of 0, so a resolution without any other was never trained.
        alpha: Share of the last resolution in the RGB output, above 0; below 1 while it fades in.

    Raises:
        CheckpointError: The file has no such resolution, keys are missing or left over, or a
            shape is wrong.
    """
    tensors = _state_dict(document) or {}
    blocks = count(tensors, "generator.to_rgb.{}.conv.weight_orig")
    used = _trained(tensors, blocks) if resolution is None else _blocks(resolution, blocks)
    config = _config(tensors, used, previous_rgb=1 - alpha)
    dense = [f"style.{2 * index + 1}.linear" for index in range(config.mapping_layers)]
    rules = mapping_rules([(f"{key}.weight_orig", f"{key}.bias") for key in dense], rate=1.0)
    rules["constant"] = copy(_CONSTANT)
    for block in range(used):
        rules |= _block_rules(tensors, block)
    rules |= _rgb_rules("to_rgb", used - 1)
    if config.previous_rgb:
        rules |= _rgb_rules("to_previous_rgb", used - 2)
    size_note = f"rendered at {2 << used} px; the file does not tell how far it was trained"
    return stylegan1_checkpoint(
        tensors,
        config,
        rules,
        mean="mean_style",
        format=READERS[0].format,
        ignored=_ignored(tensors, used, blocks),
        notes=(size_note, NO_NOISE_NOTE),
    )


def _matches(document: Document) -> bool:
    return _state_dict(document) is not None


READERS = (
    Reader(
        "rosinality-stylegan1",
        "rosinality/style-based-gan-pytorch, the first StyleGAN: generator.progression.*, style.*",
        _matches,
        read_rosinality_stylegan1,
        sized=lambda document, side: read_rosinality_stylegan1(document, resolution=side),
    ),
)


def _state_dict(document: Document) -> dict[str, Tensor] | None:
    return find_state_dict(document.root, _NAMES, [_CONSTANT])


def _blocks(resolution: int, blocks: int) -> int:
    for used in range(1, blocks + 1):
        if resolution == 2 << used:
            return used
    raise CheckpointError(
        f"resolution {resolution} is not one of the file's: powers of two from 4 to {2 << blocks}",
        value=resolution,
        limit=2 << blocks,
    )


def _trained(tensors: Mapping[str, Tensor], blocks: int) -> int:
    """Number of resolutions up to the last that has a bias other than 0, else all."""
    for used in range(blocks, 0, -1):
        keys = [f"generator.to_rgb.{used - 1}.conv.bias"]
        keys.append(f"generator.progression.{used - 1}.conv2.conv.bias")
        if any(key in tensors and bool(tensors[key].any()) for key in keys):
            return used
    return blocks


def _config(tensors: Mapping[str, Tensor], used: int, *, previous_rgb: float) -> StyleGAN1Config:
    layers = _mapping_layers(tensors)
    widths = [f"generator.progression.{block}.conv2.conv.bias" for block in range(used)]
    return StyleGAN1Config(
        resolution=2 << used,
        z_dim=size(tensors, "style.1.linear.weight_orig", 1),
        w_dim=size(tensors, f"style.{2 * layers - 1}.linear.weight_orig", 0),
        mapping_layers=layers,
        channels=tuple(size(tensors, key, 0) for key in widths),
        block_rows=1,
        epsilon=1e-5,
        bias_before_blur=True,
        previous_rgb=previous_rgb,
    )


def _mapping_layers(tensors: Mapping[str, Tensor]) -> int:
    """Fully connected layers: at odd places, between normalisation and leaky ReLUs."""
    layers = 0
    while f"style.{2 * layers + 1}.linear.weight_orig" in tensors:
        layers += 1
    return layers


def _block_rules(tensors: Mapping[str, Tensor], block: int) -> dict[str, Rule]:
    key = f"generator.progression.{block}"
    rules: dict[str, Rule] = {f"noise_{block}": given(seeded_noise(4 << block, block))}
    for part in (1, 2):
        name = f"layers.{2 * block + part - 1}"
        style = f"{key}.adain{part}.style.linear"
        rules[f"{name}.noise_strength"] = Rule((f"{key}.noise{part}.weight_orig",), _strength)
        rules[f"{name}.affine.weight"] = equalized(f"{style}.weight_orig", _GAIN)
        rules[f"{name}.affine.bias"] = copy(f"{style}.bias")
    rules |= _first_rules(tensors, block)
    rules[f"layers.{2 * block + 1}.weight"] = convolution(f"{key}.conv2.conv.weight_orig")
    rules[f"layers.{2 * block + 1}.bias"] = copy(f"{key}.conv2.conv.bias")
    return rules


def _first_rules(tensors: Mapping[str, Tensor], block: int) -> dict[str, Rule]:
    """The first convolution of a resolution; there is none at 4 px, and so no bias either."""
    key, name = f"generator.progression.{block}.conv1", f"layers.{2 * block}"
    if block == 0:
        return {f"{name}.bias": given(torch.zeros(size(tensors, _CONSTANT, 1)))}
    if f"{key}.0.weight" in tensors:
        weight, bias = fused(f"{key}.0.weight", "iohw", gain=1 / 4), f"{key}.0.bias"
    else:
        weight, bias = nearest(f"{key}.1.conv.weight_orig"), f"{key}.1.conv.bias"
    return {f"{name}.weight": weight, f"{name}.bias": copy(bias)}


def _strength(weight: Tensor) -> Tensor:
    return weight.flatten() * math.sqrt(2 / weight.shape[1])


def _rgb_rules(ours: str, block: int) -> dict[str, Rule]:
    key = f"generator.to_rgb.{block}.conv"
    return rgb_rules(ours, f"{key}.weight_orig", f"{key}.bias", gain=_GAIN)


def _ignored(tensors: Mapping[str, Tensor], used: int, blocks: int) -> list[str]:
    """Keys of blurs, whose filter is fixed, of other RGB outputs, and of what is not in use."""
    blurs = [key for key in tensors if key.endswith(".weight_flip")]
    blurs += [key.removesuffix("_flip") for key in blurs]
    unused = [f"generator.progression.{block}." for block in range(used, blocks)]
    return [*blurs, *unused, *(f"generator.to_rgb.{block}." for block in range(blocks))]

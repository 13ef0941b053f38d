"""StyleGAN2 of rosinality/stylegan2-pytorch, also the generator inside the pSp family's files."""

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
from ni_core.checkpoints.state_dicts import count, find_state_dict, size, tensor_of
from ni_core.checkpoints.stylegan2_shapes import (
    MAPPING_GAIN,
    equalized,
    has_noise,
    noise_rule,
    taps_of,
)
from ni_core.errors import CheckpointError
from ni_core.generators.families import empty_network
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config

FORMAT = "rosinality-stylegan2"

_NAMES = ("g_ema", "g")
"""Generators of a file, the preferred one first: the running mean makes better pictures."""

_MARKS = frozenset({"input.input", "conv1.conv.modulation.weight", "to_rgb1.conv.weight"})
"""Keys that only this layout has."""

_NOISE = "noises.noise_{}"


def rosinality_generator(
    state_dict: Mapping[str, Tensor], *, latent_avg: Tensor | None, format: str = FORMAT
) -> GeneratorCheckpoint:
    """Read a generator; size, widths and depths are told by the shapes.

    Args:
        state_dict: The generator's own state dict, without a prefix.
        latent_avg: Mean of W in any shape that ends with w_dim; several rows must be equal.
            None or absent in a file means that it is estimated.
        format: Name of the format for the result.

    Returns:
        The checkpoint; `notes` say what the file lacked.

    Raises:
        CheckpointError: Keys are missing or left over, shapes do not fit each other, or the
            filter is none.

    Source: arXiv:1912.04958. Differs: gains are folded into the weights.
    """
    config = _config(state_dict)
    mean = torch.zeros(config.w_dim) if latent_avg is None else _mean(latent_avg, config.w_dim)
    rules = {**_rules(state_dict, config), W_AVG: given(mean)}
    ignored = ["latent_avg", *(key for key in state_dict if key.endswith(".kernel"))]
    network = empty_network(StyleGAN2.family, config)
    tensors = convert(state_dict, rules, network, ignored=ignored)
    if latent_avg is None:
        del tensors[W_AVG]
    notes = () if has_noise(state_dict, _NOISE) else (NO_NOISE_NOTE,)
    return with_w_avg(GeneratorCheckpoint(StyleGAN2.family, config, tensors, format, notes))


def _config(tensors: Mapping[str, Tensor]) -> StyleGAN2Config:
    depth = count(tensors, "style.{}.weight", start=1)
    blocks = max(count(tensors, "convs.{}.conv.weight") // 2, 1)
    kernels = [f"convs.{2 * block}.conv.weight" for block in range(blocks)]
    hidden = size(tensors, "style.1.weight", 0)
    w_dim = size(tensors, f"style.{depth}.weight", 0)
    return StyleGAN2Config(
        resolution=4 << blocks,
        z_dim=size(tensors, "style.1.weight", 1),
        w_dim=w_dim,
        mapping_layers=depth,
        channels=tuple(size(tensors, key, -4) for key in ["conv1.conv.weight", *kernels]),
        filter=taps_of(tensor for key, tensor in tensors.items() if key.endswith(".kernel")),
        mapping_width=None if hidden == w_dim else hidden,
    )


def _rules(tensors: Mapping[str, Tensor], config: StyleGAN2Config) -> dict[str, Rule]:
    rules = {"constant": copy("input.input")}
    for index in range(config.mapping_layers):
        theirs, ours = f"style.{index + 1}", f"mapping.layers.{index}"
        gain = equalized(f"{theirs}.weight", tensors, multiplier=MAPPING_GAIN)
        rules[f"{ours}.weight"] = scaled(f"{theirs}.weight", gain)
        rules[f"{ours}.bias"] = scaled(f"{theirs}.bias", MAPPING_GAIN)
    for index in range(2 * len(config.channels) - 1):
        theirs, ours = f"convs.{index - 1}" if index else "conv1", f"layers.{index}"
        rules |= _convolution(theirs, ours, tensors)
        rules[f"{ours}.bias"] = copy(f"{theirs}.activate.bias")
        rules[f"{ours}.noise_strength"] = Rule((f"{theirs}.noise.weight",), Tensor.squeeze)
        rules[f"{ours}.noise"] = noise_rule(tensors, _NOISE, index)
    for index in range(len(config.channels)):
        theirs, ours = f"to_rgbs.{index - 1}" if index else "to_rgb1", f"to_rgbs.{index}"
        rules |= _convolution(theirs, ours, tensors)
        rules[f"{ours}.bias"] = Rule((f"{theirs}.bias",), Tensor.flatten)
    return rules


def _convolution(theirs: str, ours: str, tensors: Mapping[str, Tensor]) -> dict[str, Rule]:
    weight, affine = f"{theirs}.conv.weight", f"{theirs}.conv.modulation.weight"
    gain = equalized(weight, tensors)
    return {
        f"{ours}.conv.weight": Rule((weight,), lambda tensor: tensor.squeeze(0) * gain),
        f"{ours}.conv.affine.weight": scaled(affine, equalized(affine, tensors)),
        f"{ours}.conv.affine.bias": copy(f"{theirs}.conv.modulation.bias"),
    }


def _mean(latent_avg: Tensor, w_dim: int) -> Tensor:
    rows = latent_avg.detach().float().reshape(-1, *latent_avg.shape[-1:])
    fits = rows.numel() > 0 and rows.shape[1:] == (w_dim,)
    if not fits or not bool((rows == rows[:1]).all()):
        raise CheckpointError(
            f"latent_avg of shape {list(latent_avg.shape)} is not one mean of W, or rows equal "
            f"to it, of {w_dim} numbers",
            value=list(latent_avg.shape),
            limit=w_dim,
        )
    return rows[0].clone()


def _state_dict(document: Document) -> dict[str, Tensor] | None:
    return find_state_dict(document.root, _NAMES, _MARKS)


def _read(document: Document) -> GeneratorCheckpoint:
    state_dict = _state_dict(document)
    assert state_dict is not None
    return rosinality_generator(state_dict, latent_avg=tensor_of(document.root.get("latent_avg")))


READERS = (
    Reader(
        format=FORMAT,
        meaning="StyleGAN2 of rosinality/stylegan2-pytorch (.pt), converted or trained",
        matches=lambda document: _state_dict(document) is not None,
        generator=_read,
    ),
)

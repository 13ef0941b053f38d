"""Rules that all ports of the first StyleGAN share."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from ni_core.checkpoints.checkpoint import W_AVG, GeneratorCheckpoint, with_w_avg
from ni_core.checkpoints.conversion import Rule, convert, copy, given
from ni_core.checkpoints.growth import equalized
from ni_core.generators.families import empty_network
from ni_core.generators.stylegan1 import StyleGAN1, StyleGAN1Config


def mapping_rules(keys: Iterable[tuple[str, str]], *, rate: float) -> dict[str, Rule]:
    """Rules of the mapping network, whose gain sqrt(2) our network applies after the leaky ReLU.

    Args:
        keys: Keys of weight and bias of each layer.
        rate: Learning-rate multiplier that weights and biases are stored divided by.
    """
    rules: dict[str, Rule] = {}
    for index, (weight, bias) in enumerate(keys):
        rules[f"mapping.layers.{index}.weight"] = equalized(weight, rate)
        rules[f"mapping.layers.{index}.bias"] = Rule(
            (bias,), lambda tensor: tensor * (rate / math.sqrt(2))
        )
    return rules


def style_rules(ours: str, weight: str, bias: str) -> dict[str, Rule]:
    """Rules of a style's affine part, whose scale is stored without its 1."""
    return {
        f"{ours}.affine.weight": equalized(weight),
        f"{ours}.affine.bias": Rule((bias,), _with_one),
    }


def stylegan1_checkpoint(
    tensors: Mapping[str, Tensor],
    config: StyleGAN1Config,
    rules: Mapping[str, Rule],
    *,
    mean: str,
    format: str,
    ignored: Collection[str] = (),
    notes: tuple[str, ...] = (),
) -> GeneratorCheckpoint:
    """Convert a state dict; a mean of W that it lacks is estimated.

    Args:
        tensors: The foreign state dict.
        config: Its architecture.
        rules: How each of our tensors is made, but for the mean of W.
        mean: Key that the mean of W has, if it is there.
        format: Name of the format.
        ignored: Foreign keys that are of no use, as `convert` takes them.
        notes: What was chosen on the way.

    Raises:
        CheckpointError: Keys are missing or left over, or a shape is wrong.
    """
    has_mean = mean in tensors
    w_avg = copy(mean) if has_mean else given(torch.zeros(config.w_dim))
    network = empty_network(StyleGAN1.family, config)
    made = convert(tensors, {**rules, W_AVG: w_avg}, network, ignored=ignored)
    if not has_mean:
        del made[W_AVG]
    return with_w_avg(GeneratorCheckpoint(StyleGAN1.family, config, made, format, notes))


def _with_one(bias: Tensor) -> Tensor:
    return bias + (torch.arange(len(bias)) < len(bias) // 2)

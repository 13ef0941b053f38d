"""StyleGAN3 of NVIDIA's stylegan3 (.pkl), -t and -r."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.conversion import Rule, copy, scaled
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.nvidia import (
    NvidiaNetwork,
    converted,
    linear_rules,
    mapping_fields,
    mapping_rules,
    nvidia_generator,
)
from ni_core.errors import BrokenBundleError, CheckpointError
from ni_core.generators.stylegan3 import StyleGAN3, StyleGAN3Config

FORMAT = "nvidia-stylegan3"

_ARGUMENTS = {
    "num_critical": "critical",
    "first_cutoff": "first_cutoff",
    "first_stopband": "first_stopband",
    "last_stopband_rel": "last_stopband_relative",
    "margin_size": "margin",
    "output_scale": "output_scale",
    "conv_kernel": "kernel",
    "lrelu_upsampling": "oversampling",
    "filter_size": "filter_size",
    "use_radial_filters": "radial",
    "conv_clamp": "clamp",
}
"""Arguments of their synthesis network and our fields; one that is not given has the default."""


def read_stylegan3(document: Document) -> GeneratorCheckpoint:
    """Read a StyleGAN3 from a document that holds one.

    Raises:
        CheckpointError: It is no StyleGAN3, or its parts do not fit each other.

    Source: arXiv:2106.12423. Differs: gains and the normalisation of the weights are folded in.
    """
    network = _generator(document)
    if network is None:
        raise CheckpointError(f"{document.path.name} holds no StyleGAN3: {document.summary()}")
    config = _config(network)
    names = _layer_names(network)
    rules = {**mapping_rules(network), **_input_rules(network)}
    for index, name in enumerate(names):
        rules |= _layer_rules(network, f"synthesis.{name}", f"layers.{index}", config)
    return converted(network.tensors, StyleGAN3.family, config, rules, format=FORMAT)


def _config(network: NvidiaNetwork) -> StyleGAN3Config:
    given, names = network.arguments["synthesis"], _layer_names(network)
    options: dict[str, Any] = {
        ours: _plain(given[theirs]) for theirs, ours in _ARGUMENTS.items() if theirs in given
    }
    widths = [network.size(f"synthesis.{name}.weight", 0) for name in names]
    try:
        config = StyleGAN3Config(channels=tuple(widths[:-1]), **mapping_fields(network), **options)
        wanted = [f"L{i}_{layer.size}_{layer.outputs}" for i, layer in enumerate(config.layers)]
    except (TypeError, ValueError, ArithmeticError, BrokenBundleError) as error:
        raise CheckpointError(f"the options {options} cannot be read: {error}") from error
    if names != wanted:
        raise CheckpointError(
            f"the layers {', '.join(names)} are not those its options make: {', '.join(wanted)}",
            value=names,
            limit=wanted,
        )
    return config


def _input_rules(network: NvidiaNetwork) -> dict[str, Rule]:
    channels = network.size("synthesis.input.weight", 1)
    return {
        **linear_rules(network, "synthesis.input.affine", "input.affine"),
        **{f"input.{name}": copy(f"synthesis.input.{name}") for name in ("freqs", "phases")},
        "input.transform": copy("synthesis.input.transform"),
        "input.weight": scaled("synthesis.input.weight", 1 / math.sqrt(channels)),
    }


def _layer_rules(
    network: NvidiaNetwork, theirs: str, ours: str, config: StyleGAN3Config
) -> dict[str, Rule]:
    layer = config.layers[int(ours.split(".")[1])]
    weight = f"{theirs}.weight"
    filters = [
        name for name in ("up_filter", "down_filter") if f"{theirs}.{name}" in network.tensors
    ]
    return {
        **linear_rules(network, f"{theirs}.affine", f"{ours}.affine"),
        **{f"{ours}.{name}": copy(f"{theirs}.{name}") for name in ["bias", *filters]},
        f"{ours}.weight": scaled(weight, 1 / math.sqrt(layer.inputs))
        if layer.to_rgb
        else Rule((weight,), _normalized),
        f"{ours}.input_gain": Rule((f"{theirs}.magnitude_ema",), torch.rsqrt),
    }


def _normalized(weight: Tensor) -> Tensor:
    """Weight with unit mean square per output channel."""
    weight = weight.double()
    return weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, so that a configuration can be written as JSON."""
    return value.item() if hasattr(value, "item") else value


def _layer_names(network: NvidiaNetwork) -> list[str]:
    return [name for name in network.children["synthesis"] if name != "input"]


def _generator(document: Document) -> NvidiaNetwork | None:
    network = nvidia_generator(document)
    return network if network and "input" in network.children["synthesis"] else None


READERS = (
    Reader(
        format=FORMAT,
        meaning="StyleGAN3 of NVIDIA's stylegan3 (.pkl), -t and -r",
        matches=lambda document: _generator(document) is not None,
        generator=read_stylegan3,
    ),
)

"""StyleGAN2 of NVIDIA's stylegan2-ada-pytorch and stylegan3 (.pkl), and modules tuned by PTI."""

from __future__ import annotations

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
from ni_core.checkpoints.stylegan2_shapes import equalized, taps_of
from ni_core.errors import CheckpointError
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.generators.stylegan2_config import Architecture

FORMAT = "nvidia-stylegan2"

_ARCHITECTURES: dict[str, Architecture] = {"skip": "skip", "resnet": "residual", "orig": "plain"}


def read_stylegan2(document: Document) -> GeneratorCheckpoint:
    """Read a StyleGAN2 from a document that holds one.

    Raises:
        CheckpointError: It is no StyleGAN2, or its parts do not fit each other.

    Source: arXiv:2006.06676. Differs: gains are folded into the weights; all blocks are float32.
    """
    network = _generator(document)
    if network is None:
        raise CheckpointError(f"{document.path.name} holds no StyleGAN2: {document.summary()}")
    config = _config(network)
    rules = {
        **mapping_rules(network),
        "constant": Rule(("synthesis.b4.const",), lambda tensor: tensor[None]),
    }
    for index in range(2 * len(config.channels) - 1):
        rules |= _layer_rules(network, index, noise=config.noise)
    for block in range(len(config.channels)):
        rules |= _block_rules(network, block, config)
    filters = tuple(key for key in network.tensors if key.endswith(".resample_filter"))
    return converted(
        network.tensors, StyleGAN2.family, config, rules, format=FORMAT, ignored=filters
    )


def _config(network: NvidiaNetwork) -> StyleGAN2Config:
    fields = mapping_fields(network)
    sides = [4 << block for block in range(max(fields["resolution"].bit_length() - 2, 0))]
    kernels = [
        _plane(tensor)
        for key, tensor in network.tensors.items()
        if key.endswith("conv0.resample_filter")
    ]
    return StyleGAN2Config(
        channels=tuple(network.size(f"synthesis.b{side}.conv1.weight", 0) for side in sides),
        noise="synthesis.b4.conv1.noise_strength" in network.tensors,
        architecture=_architecture(network),
        filter=taps_of(kernels),
        clamp=_clamp(network),
        **fields,
    )


def _architecture(network: NvidiaNetwork) -> Architecture:
    name = network.attribute("synthesis.b4", "architecture")
    if name not in _ARCHITECTURES:
        raise CheckpointError(
            f"architecture {name!r} is not one of {', '.join(_ARCHITECTURES)}",
            value=str(name),
            limit=list(_ARCHITECTURES),
        )
    return _ARCHITECTURES[name]


def _clamp(network: NvidiaNetwork) -> float | None:
    value = network.attribute("synthesis.b4.conv1", "conv_clamp")
    return None if value is None else float(value)


def _plane(kernel: Tensor) -> Tensor:
    """A resampling filter with two axes and the sum 4; long ones are stored as one row."""
    return (torch.outer(kernel, kernel) if kernel.dim() == 1 else kernel) * 4


def _layer_rules(network: NvidiaNetwork, index: int, *, noise: bool) -> dict[str, Rule]:
    """Rules for a convolution: one at 4 px, then two for each block."""
    theirs = f"synthesis.b{4 << (index + 1) // 2}.conv{(index + 1) % 2}"
    ours, weight = f"layers.{index}", f"{theirs}.weight"
    rules = {
        **linear_rules(network, f"{theirs}.affine", f"{ours}.conv.affine"),
        f"{ours}.conv.weight": scaled(weight, equalized(weight, network.tensors)),
        f"{ours}.bias": copy(f"{theirs}.bias"),
    }
    if noise:
        rules[f"{ours}.noise"] = copy(f"{theirs}.noise_const")
        rules[f"{ours}.noise_strength"] = copy(f"{theirs}.noise_strength")
    return rules


def _block_rules(network: NvidiaNetwork, block: int, config: StyleGAN2Config) -> dict[str, Rule]:
    """Rules for what a block adds to its convolutions: RGB, and a way past them."""
    theirs = f"synthesis.b{4 << block}"
    rules: dict[str, Rule] = {}
    if config.architecture == "residual" and block:
        gain = network.number(f"{theirs}.skip", "weight_gain")
        rules[f"skips.{block - 1}.weight"] = scaled(f"{theirs}.skip.weight", gain)
    if config.architecture == "skip" or block == len(config.channels) - 1:
        ours = f"to_rgbs.{block if config.architecture == 'skip' else 0}"
        gain = network.number(f"{theirs}.torgb", "weight_gain")
        rules |= linear_rules(network, f"{theirs}.torgb.affine", f"{ours}.conv.affine")
        rules[f"{ours}.conv.weight"] = scaled(f"{theirs}.torgb.weight", gain)
        rules[f"{ours}.bias"] = copy(f"{theirs}.torgb.bias")
    return rules


def _generator(document: Document) -> NvidiaNetwork | None:
    network = nvidia_generator(document)
    return network if network and "b4" in network.children["synthesis"] else None


READERS = (
    Reader(
        format=FORMAT,
        meaning="StyleGAN2 of NVIDIA's stylegan2-ada-pytorch or stylegan3 (.pkl), or tuned by PTI",
        matches=lambda document: _generator(document) is not None,
        generator=read_stylegan2,
    ),
)

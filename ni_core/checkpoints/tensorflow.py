"""StyleGAN2 of NVIDIA's TensorFlow code (.pkl): a tuple of three networks, of which Gs is taken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ni_core.checkpoints.checkpoint import W_AVG, GeneratorCheckpoint, Reader
from ni_core.checkpoints.conversion import Rule
from ni_core.checkpoints.document import Document, Inert
from ni_core.checkpoints.nvidia import converted
from ni_core.checkpoints.state_dicts import count, size
from ni_core.checkpoints.stylegan2_shapes import MAPPING_GAIN
from ni_core.errors import CheckpointError
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.generators.stylegan2_config import Architecture

FORMAT = "tensorflow-stylegan2"

_FIRST_VERSION = 4
"""Files of StyleGAN2 have this version or a higher one; those of older networks a lower one."""

_DENSE = "mapping/Dense{}/weight"
_LABELS = "mapping/LabelEmbed"

_OPTIONS: dict[str, tuple[object, ...]] = {
    "nonlinearity": ("lrelu",),
    "mapping_nonlinearity": ("lrelu",),
    "normalize_latents": (True,),
}
"""Options that have one meaning here, with what they may say."""


def read_tensorflow(document: Document) -> GeneratorCheckpoint:
    """Read the generator Gs of a TensorFlow pickle.

    Raises:
        CheckpointError: It is of StyleGAN1 or older, has options we do not know, or its variables
            do not fit each other.

    Source: arXiv:1912.04958. Differs: gains are folded in, axes and orientation are PyTorch's.
    """
    network = _generator(document)
    if network is None:
        raise CheckpointError(f"{document.path.name} holds no network: {document.summary()}")
    _check(network.state)
    tensors = dict(_variables("", network.state))
    options = network.state.get("static_kwargs") or {}
    config = _config(tensors, options)
    rules = _rules(tensors, config, float(options.get("mapping_lrmul", MAPPING_GAIN)))
    ignored = ("lod", "synthesis/lod")
    return converted(tensors, StyleGAN2.family, config, rules, format=FORMAT, ignored=ignored)


def _check(state: Mapping[str, Any]) -> None:
    version, function = state.get("version"), state.get("build_func_name")
    if not isinstance(version, int) or version < _FIRST_VERSION or function == "G_style":
        raise CheckpointError(
            f"a TensorFlow network {function or 'of unknown kind'} of version {version} is of "
            f"StyleGAN1 or older; only StyleGAN2, from version {_FIRST_VERSION}, can be read. "
            "Genforce publishes older ones in a format that can",
            value=str(version),
            limit=_FIRST_VERSION,
        )
    options = state.get("static_kwargs") or {}
    for name, allowed in _OPTIONS.items():
        if options.get(name, allowed[0]) not in allowed:
            raise CheckpointError(
                f"the option {name} = {options[name]!r} has no counterpart here; "
                f"only {allowed[0]!r} can be read",
                value=name,
            )


def _config(tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> StyleGAN2Config:
    blocks = 1
    while f"synthesis/{4 << blocks}x{4 << blocks}/Conv1/weight" in tensors:
        blocks += 1
    depth, classes = count(tensors, _DENSE), f"{_LABELS}/weight" in tensors
    w_dim = size(tensors, _DENSE.format(max(depth - 1, 0)), 1)
    width = size(tensors, _DENSE.format(0), 1)
    embedded = size(tensors, f"{_LABELS}/weight", 1) if classes else 0
    clamp = options.get("conv_clamp")
    return StyleGAN2Config(
        resolution=2 << blocks,
        z_dim=size(tensors, _DENSE.format(0), 0) - embedded,
        w_dim=w_dim,
        mapping_layers=depth,
        channels=tuple(size(tensors, f"{_convolution(2 * b)}/weight", 3) for b in range(blocks)),
        noise=f"{_convolution(0)}/noise_strength" in tensors,
        architecture=_architecture(tensors, blocks),
        filter=tuple(float(tap) for tap in options.get("resample_kernel") or (1, 3, 3, 1)),
        clamp=None if clamp is None else float(clamp),
        num_classes=size(tensors, f"{_LABELS}/weight", 0) if classes else 0,
        embed_dim=None if embedded in (0, w_dim) else embedded,
        mapping_width=None if width == w_dim else width,
        image_channels=size(tensors, f"{_block(blocks - 1)}/ToRGB/weight", 3),
    )


def _architecture(tensors: Mapping[str, Tensor], blocks: int) -> Architecture:
    if f"{_block(blocks - 1)}/Skip/weight" in tensors:
        return "residual"
    return "skip" if f"{_block(0)}/ToRGB/weight" in tensors else "plain"


def _rules(tensors: Mapping[str, Tensor], config: StyleGAN2Config, gain: float) -> dict[str, Rule]:
    rules = {"constant": _as_is("synthesis/4x4/Const/const")}
    for index in range(config.mapping_layers):
        rules |= _dense(f"mapping/Dense{index}", f"mapping.layers.{index}", gain)
    if config.num_classes:
        rules |= _dense(_LABELS, "mapping.embed", 1.0)
    if "dlatent_avg" in tensors:
        rules[W_AVG] = _as_is("dlatent_avg")
    for index in range(2 * len(config.channels) - 1):
        theirs, ours = _convolution(index), f"layers.{index}"
        rules |= _modulated(theirs, ours, flip=index % 2 == 1)
        if config.noise:
            rules[f"{ours}.noise"] = Rule((f"synthesis/noise{index}",), Tensor.squeeze)
            rules[f"{ours}.noise_strength"] = _as_is(f"{theirs}/noise_strength")
    last = len(config.channels) - 1
    skip = config.architecture == "skip"
    for index, block in enumerate(range(last + 1) if skip else [last]):
        rules |= _modulated(f"{_block(block)}/ToRGB", f"to_rgbs.{index}", flip=False)
    if config.architecture == "residual":
        for index in range(last):
            key = f"{_block(index + 1)}/Skip/weight"
            rules[f"skips.{index}.weight"] = Rule((key,), _flipped_kernel)
    return rules


def _modulated(theirs: str, ours: str, *, flip: bool) -> dict[str, Rule]:
    return {
        f"{ours}.conv.weight": Rule((f"{theirs}/weight",), _flipped_kernel if flip else _kernel),
        f"{ours}.conv.affine.weight": Rule((f"{theirs}/mod_weight",), _transposed),
        f"{ours}.conv.affine.bias": Rule((f"{theirs}/mod_bias",), lambda bias: bias + 1),
        f"{ours}.bias": _as_is(f"{theirs}/bias"),
    }


def _dense(theirs: str, ours: str, gain: float) -> dict[str, Rule]:
    return {
        f"{ours}.weight": Rule((f"{theirs}/weight",), lambda tensor: _transposed(tensor) * gain),
        f"{ours}.bias": Rule((f"{theirs}/bias",), lambda tensor: tensor * gain),
    }


def _as_is(key: str) -> Rule:
    return Rule((key,), lambda tensor: tensor)


def _transposed(weight: Tensor) -> Tensor:
    """Dense weight `[in, out]` as `[out, in]`, its gain folded in."""
    return weight.T / math.sqrt(weight.shape[0])


def _kernel(weight: Tensor) -> Tensor:
    """Kernel `[h, w, in, out]` as `[out, in, h, w]`, its gain folded in."""
    return weight.permute(3, 2, 0, 1) / math.sqrt(math.prod(weight.shape[:3]))


def _flipped_kernel(weight: Tensor) -> Tensor:
    """The same of a convolution that doubles the resolution: TensorFlow turns it half around."""
    return _kernel(weight).flip(2, 3)


def _block(block: int) -> str:
    return f"synthesis/{4 << block}x{4 << block}"


def _convolution(index: int) -> str:
    """Name of a convolution: one at 4 px, then two for each block."""
    block = (index + 1) // 2
    name = "Conv" if index == 0 else "Conv0_up" if index % 2 else "Conv1"
    return f"{_block(block)}/{name}"


def _variables(prefix: str, state: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.get("variables") or ():
        if isinstance(value, np.ndarray | np.generic | float):
            yield f"{prefix}{name}", torch.from_numpy(np.array(value, dtype=np.float32))
    for name, component in (state.get("components") or {}).items():
        if isinstance(component, Inert) and isinstance(component.state, Mapping):
            yield from _variables(f"{prefix}{name}/", component.state)


def _generator(document: Document) -> Inert | None:
    """Gs of the tuple (G, D, Gs), or a network that is alone."""
    root = document.root
    found = root[2] if isinstance(root, list | tuple) and len(root) == 3 else root
    is_network = isinstance(found, Inert) and found.name == "Network"
    return found if is_network and isinstance(found.state, Mapping) else None


READERS = (
    Reader(
        format=FORMAT,
        meaning="StyleGAN2 of NVIDIA's TensorFlow code (.pkl)",
        matches=lambda document: _generator(document) is not None,
        generator=read_tensorflow,
    ),
)

"""Writes networks of ours in NVIDIA's layouts: the gains taken out again, foreign classes named."""

from __future__ import annotations

import math
import pickle
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ni_core.generators.stylegan2 import StyleGAN2Config
from ni_core.generators.stylegan3 import StyleGAN3Config

Tensors = Mapping[str, Tensor]

PERSISTENCE = "torch_utils.persistence"
NETWORK = "dnnlib.tflib.network"
EASY_DICT = "dnnlib.util"


@dataclass
class Part:
    """A module: what it was made with, what it holds, and the modules inside it."""

    name: str
    parameters: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor | None] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    children: dict[str, Part] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {
            "training": False,
            "_parameters": {key: torch.nn.Parameter(p) for key, p in self.parameters.items()},
            "_buffers": self.buffers,
            "_modules": self.children,
            **self.attributes,
            "_init_args": (),
            "_init_kwargs": self.arguments,
        }
        meta = sys.modules[EASY_DICT].EasyDict(
            type="class", version=6, module_src="1 / 0", class_name=self.name, state=state
        )
        return sys.modules[PERSISTENCE]._reconstruct_persistent_obj, (meta,)


class EasyDict(dict):  # type: ignore[type-arg]
    """A dict under its foreign name."""


def _reconstruct_persistent_obj(meta: object) -> None:
    """Only its name is written."""


class Network:
    """A TensorFlow network: a state under a foreign name."""

    def __init__(self, **state: Any) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state


@contextmanager
def foreign_names() -> Iterator[None]:
    """While this lasts, the stand-ins are pickled under NVIDIA's names."""
    homes = {
        PERSISTENCE: _reconstruct_persistent_obj,
        EASY_DICT: EasyDict,
        NETWORK: Network,
    }
    packages = ("torch_utils", "dnnlib", "dnnlib.tflib")
    own = {thing: thing.__module__ for thing in homes.values()}
    sys.modules.update({name: types.ModuleType(name) for name in (*packages, *homes)})
    for home, thing in homes.items():
        setattr(sys.modules[home], thing.__name__, thing)
        thing.__module__ = home
    try:
        yield
    finally:
        for thing in homes.values():
            thing.__module__ = own[thing]
        for name in (*packages, *homes):
            del sys.modules[name]


def write_pickle(path: Path, root: Any) -> Path:
    with foreign_names():
        path.write_bytes(pickle.dumps(root))
    return path


def write_torch(path: Path, root: Any, *, zipped: bool = True) -> Path:
    with foreign_names():
        torch.save(root, path, _use_new_zipfile_serialization=zipped)
    return path


def linear(tensors: Tensors, name: str, *, rate: float = 1.0, activation: str = "linear") -> Part:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    gain = rate / math.sqrt(weight.shape[1])
    return Part(
        "FullyConnectedLayer",
        {"weight": weight / gain, "bias": bias / rate},
        attributes={
            "activation": activation,
            "weight_gain": np.float64(gain),
            "bias_gain": rate,
        },
    )


def mapping(config: StyleGAN2Config | StyleGAN3Config, tensors: Tensors) -> Part:
    count = config.mapping_layers
    children = {
        f"fc{i}": linear(tensors, f"mapping.layers.{i}", rate=0.01, activation="lrelu")
        for i in range(count)
    }
    if config.num_classes:
        children["embed"] = linear(tensors, "mapping.embed")
    buffers: dict[str, Tensor | None] = {"w_avg": tensors["w_avg"]}
    return Part(
        "MappingNetwork", buffers=buffers, attributes={"num_layers": count}, children=children
    )


def generator(config: StyleGAN2Config | StyleGAN3Config, tensors: Tensors, synthesis: Part) -> Part:
    attributes = {
        "z_dim": config.z_dim,
        "c_dim": config.num_classes,
        "w_dim": config.w_dim,
        "img_resolution": config.resolution,
        "img_channels": config.image_channels,
        "num_ws": config.num_layers,
    }
    children = {"synthesis": synthesis, "mapping": mapping(config, tensors)}
    return Part("Generator", attributes=attributes, children=children)


def stylegan2(config: StyleGAN2Config, tensors: Tensors) -> Part:
    """A network of stylegan2-ada."""
    synthesis = Part("SynthesisNetwork")
    for block in range(len(config.channels)):
        synthesis.children[f"b{4 << block}"] = _block(config, tensors, block)
    return generator(config, tensors, synthesis)


def _block(config: StyleGAN2Config, tensors: Tensors, block: int) -> Part:
    names = {"skip": "skip", "residual": "resnet", "plain": "orig"}
    part = Part("SynthesisBlock", attributes={"architecture": names[config.architecture]})
    part.buffers["resample_filter"] = _filter(config)
    if block == 0:
        part.parameters["const"] = tensors["constant"][0]
    else:
        part.children["conv0"] = _convolution(config, tensors, 2 * block - 1)
    part.children["conv1"] = _convolution(config, tensors, 2 * block)
    last = block == len(config.channels) - 1
    if config.architecture == "skip" or last:
        name = f"to_rgbs.{block if config.architecture == 'skip' else 0}"
        part.children["torgb"] = _to_rgb(config, tensors, name)
    if config.architecture == "residual" and block:
        weight = tensors[f"skips.{block - 1}.weight"]
        gain = 1 / math.sqrt(weight.shape[1])
        buffers: dict[str, Tensor | None] = {"resample_filter": _filter(config)}
        part.children["skip"] = Part(
            "Conv2dLayer", {"weight": weight / gain}, buffers, {"weight_gain": gain}
        )
    return part


def _convolution(config: StyleGAN2Config, tensors: Tensors, index: int) -> Part:
    name = f"layers.{index}"
    weight = tensors[f"{name}.conv.weight"] * math.sqrt(tensors[f"{name}.conv.weight"][0].numel())
    part = Part(
        "SynthesisLayer",
        {"weight": weight, "bias": tensors[f"{name}.bias"]},
        {"resample_filter": _filter(config)},
        {"activation": "lrelu", "conv_clamp": config.clamp},
        children={"affine": linear(tensors, f"{name}.conv.affine")},
    )
    if config.noise:
        part.parameters["noise_strength"] = tensors[f"{name}.noise_strength"]
        part.buffers["noise_const"] = tensors[f"{name}.noise"]
    return part


def _to_rgb(config: StyleGAN2Config, tensors: Tensors, name: str) -> Part:
    weight = tensors[f"{name}.conv.weight"]
    gain = 1 / math.sqrt(weight.shape[1])
    return Part(
        "ToRGBLayer",
        {"weight": weight / gain, "bias": tensors[f"{name}.bias"]},
        attributes={"weight_gain": gain, "conv_clamp": config.clamp},
        children={"affine": linear(tensors, f"{name}.conv.affine")},
    )


def _filter(config: StyleGAN2Config) -> Tensor:
    """The plane of sum 1; one row where it has eight taps or more."""
    row = torch.tensor(config.filter) / sum(config.filter)
    return row if len(row) >= 8 else torch.outer(row, row)


def stylegan3(config: StyleGAN3Config, tensors: Tensors, arguments: dict[str, Any]) -> Part:
    """A network of stylegan3; the scale of the weights of each output channel is made up."""
    freqs = {key: tensors[f"input.{key}"] for key in ("freqs", "phases", "transform")}
    source = Part(
        "SynthesisInput",
        {"weight": tensors["input.weight"] * math.sqrt(config.channels[0])},
        dict(freqs),
        children={"affine": linear(tensors, "input.affine")},
    )
    synthesis = Part("SynthesisNetwork", arguments=arguments, children={"input": source})
    for index, layer in enumerate(config.layers):
        ours = f"layers.{index}"
        weight = tensors[f"{ours}.weight"]
        by = torch.rand(layer.outputs, 1, 1, 1) + 0.5
        weight = weight * math.sqrt(layer.inputs) if layer.to_rgb else weight * by
        buffers = {key: tensors.get(f"{ours}.{key}") for key in ("up_filter", "down_filter")}
        synthesis.children[f"L{index}_{layer.size}_{layer.outputs}"] = Part(
            "SynthesisLayer",
            {"weight": weight, "bias": tensors[f"{ours}.bias"]},
            {**buffers, "magnitude_ema": tensors[f"{ours}.input_gain"] ** -2},
            children={"affine": linear(tensors, f"{ours}.affine")},
        )
    return generator(config, tensors, synthesis)


def tensorflow(config: StyleGAN2Config, tensors: Tensors, **options: Any) -> Network:
    """The network Gs of TensorFlow's StyleGAN2."""
    synthesis: dict[str, Tensor] = {"4x4/Const/const": tensors["constant"]}
    for index in range(2 * len(config.channels) - 1):
        side = 4 << (index + 1) // 2
        name = "Conv0_up" if index % 2 else "Conv1" if index else "Conv"
        synthesis |= _modulated(tensors, f"layers.{index}", f"{side}x{side}/{name}", index % 2 == 1)
        if config.noise:
            synthesis[f"noise{index}"] = tensors[f"layers.{index}.noise"][None, None]
            strength = tensors[f"layers.{index}.noise_strength"]
            synthesis[f"{side}x{side}/{name}/noise_strength"] = strength
    first = 0 if config.architecture == "skip" else len(config.channels) - 1
    for index, block in enumerate(range(first, len(config.channels))):
        side = 4 << block
        synthesis |= _modulated(tensors, f"to_rgbs.{index}", f"{side}x{side}/ToRGB", False)
    if config.architecture == "residual":
        for block in range(1, len(config.channels)):
            side, weight = 4 << block, tensors[f"skips.{block - 1}.weight"]
            synthesis[f"{side}x{side}/Skip/weight"] = _hwio(weight, flip=True)
    dense = {f"Dense{i}": (f"mapping.layers.{i}", 0.01) for i in range(config.mapping_layers)}
    if config.num_classes:
        dense["LabelEmbed"] = ("mapping.embed", 1.0)
    mapped: dict[str, Tensor] = {}
    for name, (ours, rate) in dense.items():
        part = linear(tensors, ours, rate=rate).parameters
        mapped[f"{name}/weight"], mapped[f"{name}/bias"] = part["weight"].T, part["bias"]
    components = {
        "synthesis": network("G_synthesis_stylegan2", synthesis),
        "mapping": network("G_mapping", mapped),
    }
    variables = {"lod": torch.zeros(()), "dlatent_avg": tensors["w_avg"]}
    return network("G_main", variables, components=components, static_kwargs=options)


def network(function: str, variables: Tensors, **state: Any) -> Network:
    arrays = [(name, tensor.numpy()) for name, tensor in variables.items()]
    made = {"version": 4, "name": "Gs", "static_kwargs": {}, "components": {}, **state}
    return Network(**made, build_module_src="1 / 0", build_func_name=function, variables=arrays)


def _modulated(tensors: Tensors, ours: str, theirs: str, flip: bool) -> dict[str, Tensor]:
    affine = linear(tensors, f"{ours}.conv.affine").parameters
    return {
        f"{theirs}/weight": _hwio(tensors[f"{ours}.conv.weight"], flip=flip),
        f"{theirs}/mod_weight": affine["weight"].T,
        f"{theirs}/mod_bias": affine["bias"] - 1,
        f"{theirs}/bias": tensors[f"{ours}.bias"],
    }


def _hwio(weight: Tensor, *, flip: bool) -> Tensor:
    weight = weight * math.sqrt(weight[0].numel())
    return (weight.flip(2, 3) if flip else weight).permute(2, 3, 1, 0)

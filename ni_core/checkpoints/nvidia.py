"""NVIDIA's PyTorch networks: from the objects their files rebuild by running code to plain facts.

Every module is a call of `torch_utils.persistence` with its Python source and its state. The source
is never looked at; the state holds parameters, buffers, submodules, attributes and the arguments
the module was made with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ni_core.checkpoints.checkpoint import W_AVG, GeneratorCheckpoint, with_w_avg
from ni_core.checkpoints.conversion import Rule, convert, copy, given, scaled
from ni_core.checkpoints.document import Document, Inert
from ni_core.errors import CheckpointError
from ni_core.generators.base import GeneratorConfig
from ni_core.generators.families import empty_network

_NAMES = ("G_ema", "G")
"""Generators of a file, the preferred one first: the running mean makes better pictures."""

_W_AVG = "mapping.w_avg"


@dataclass
class NvidiaNetwork:
    """A network as its file describes it.

    Attributes:
        tensors: Parameters and buffers by their path, as in a state dict.
        attributes: What the constructor of every submodule set on it, by path; the root's is "".
        arguments: What every submodule was made with, by path.
        children: Names of the submodules of every submodule, by path.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    attributes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    arguments: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    children: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def attribute(self, path: str, name: str) -> Any:
        """Value of an attribute of a submodule.

        Raises:
            CheckpointError: It has none of this name.
        """
        if name not in self.attributes.get(path, {}):
            raise CheckpointError(f"{path or 'the generator'} lacks {name}", value=name)
        return self.attributes[path][name]

    def whole(self, path: str, name: str) -> int:
        """An attribute that is a whole number.

        Raises:
            CheckpointError: It is none, or is missing.
        """
        number = self.number(path, name)
        if not number.is_integer():
            raise CheckpointError(
                f"{path or 'the generator'}: {name} is no whole number but {number}", value=name
            )
        return int(number)

    def number(self, path: str, name: str) -> float:
        """An attribute that is a number.

        Raises:
            CheckpointError: It is none, or is missing.
        """
        value = self.attribute(path, name)
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(
                f"{path or 'the generator'}: {name} is no number but {type(value).__name__}",
                value=name,
            ) from error

    def size(self, key: str, axis: int) -> int:
        """Size of a tensor along an axis.

        Raises:
            CheckpointError: There is no such tensor, or it has no such axis.
        """
        if key not in self.tensors or axis >= self.tensors[key].dim():
            raise CheckpointError(f"the generator lacks {key}, or its axis {axis}", value=key)
        return self.tensors[key].shape[axis]


def nvidia_generator(document: Document) -> NvidiaNetwork | None:
    """The generator of a document, of whatever family; None where there is none."""
    root = document.root
    candidates = [root.get(name) for name in _NAMES] if isinstance(root, Mapping) else [root]
    for candidate in candidates:
        if _state(candidate) is not None:
            network = NvidiaNetwork()
            for path, state in _walk("", candidate):
                _collect(network, path, state)
            return network if {"mapping", "synthesis"} <= set(network.children[""]) else None
    return None


def mapping_fields(network: NvidiaNetwork) -> dict[str, Any]:
    """Fields that the configurations of both families share."""
    _check_activations(network)
    classes = network.whole("", "c_dim")
    w_dim, depth = network.whole("", "w_dim"), network.whole("mapping", "num_layers")
    width = network.size("mapping.fc0.weight", 0)
    embedded = network.size("mapping.embed.weight", 0) if classes else w_dim
    return {
        "resolution": network.whole("", "img_resolution"),
        "z_dim": network.whole("", "z_dim"),
        "w_dim": w_dim,
        "mapping_layers": depth,
        "num_classes": classes,
        "embed_dim": None if embedded == w_dim else embedded,
        "mapping_width": None if width == w_dim else width,
        "image_channels": network.whole("", "img_channels"),
    }


def mapping_rules(network: NvidiaNetwork) -> dict[str, Rule]:
    """Rules for the mapping network and the mean of W, if there is one."""
    rules: dict[str, Rule] = {}
    for index in range(network.whole("mapping", "num_layers")):
        rules |= linear_rules(network, f"mapping.fc{index}", f"mapping.layers.{index}")
    if "embed" in network.children.get("mapping", ()):
        rules |= linear_rules(network, "mapping.embed", "mapping.embed")
    if _W_AVG in network.tensors:
        rules[W_AVG] = copy(_W_AVG)
    return rules


def linear_rules(network: NvidiaNetwork, theirs: str, ours: str) -> dict[str, Rule]:
    """Rules for a fully connected layer; its gains are folded in."""
    return {
        f"{ours}.weight": scaled(f"{theirs}.weight", network.number(theirs, "weight_gain")),
        f"{ours}.bias": scaled(f"{theirs}.bias", network.number(theirs, "bias_gain")),
    }


def converted(
    tensors: Mapping[str, Tensor],
    family: str,
    config: GeneratorConfig,
    rules: Mapping[str, Rule],
    *,
    format: str,
    ignored: tuple[str, ...] = (),
) -> GeneratorCheckpoint:
    """Make the checkpoint; a mean of W that no rule makes is estimated."""
    network = empty_network(family, config)
    blank = given(torch.zeros(config.w_dim))
    made = convert(tensors, {W_AVG: blank, **rules}, network, ignored=ignored)
    if W_AVG not in rules:
        del made[W_AVG]
    return with_w_avg(GeneratorCheckpoint(family, config, made, format))


def _state(candidate: Any) -> Mapping[str, Any] | None:
    """State of a persistent module; None for anything else."""
    if not isinstance(candidate, Inert) or candidate.name != "_reconstruct_persistent_obj":
        return None
    meta = candidate.args[0] if candidate.args else None
    state = _mapping(_mapping(meta).get("state"))
    return state if isinstance(state.get("_modules"), Mapping) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a dict, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _walk(path: str, module: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    state = _state(module)
    if state is None:
        raise CheckpointError(f"submodule {path} is not one of NVIDIA's", value=path)
    yield path, state
    for name, child in state["_modules"].items():
        if child is not None:
            yield from _walk(f"{path}.{name}" if path else name, child)


def _collect(network: NvidiaNetwork, path: str, state: Mapping[str, Any]) -> None:
    network.attributes[path] = state
    network.arguments[path] = _mapping(state.get("_init_kwargs"))
    network.children[path] = tuple(state["_modules"])
    prefix = f"{path}." if path else ""
    for kind in ("_parameters", "_buffers"):
        for name, tensor in _mapping(state.get(kind)).items():
            if isinstance(tensor, Tensor):
                network.tensors[f"{prefix}{name}"] = tensor.detach()


def _check_activations(network: NvidiaNetwork) -> None:
    for path, attributes in network.attributes.items():
        activation = attributes.get("activation", "lrelu")
        if path.split(".")[-1].startswith(("fc", "conv")) and activation != "lrelu":
            raise CheckpointError(
                f"{path} has the activation {activation!r}; only lrelu can be read",
                value=str(activation),
                limit=["lrelu"],
            )

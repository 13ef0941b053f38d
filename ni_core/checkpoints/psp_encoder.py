"""The encoder inside pSp, e4e and ReStyle files: its configuration and tensors from its keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ni_core.checkpoints.conversion import Rule, convert, copy, given, scaled
from ni_core.checkpoints.folding import folded_bias, folded_weight, norm_scale, norm_shift
from ni_core.checkpoints.inert import shown
from ni_core.encoders.families import empty_encoder
from ni_core.encoders.psp import Head, Psp, PspConfig
from ni_core.errors import CheckpointError

_CELLS = 49
"""Pixels of the map that the head `flattened` reads."""

_W_INPUT_SIDE = 256
_TRAINED_PASSES = 5
"""Passes of ReStyle unless its options tell another number."""

_PROGRESSIVE_TYPES = (
    "Encoder4Editing",
    "ProgressiveBackboneEncoder",
    "ResNetProgressiveBackboneEncoder",
)
_PROGRESSIVE_OPTIONS = ("stylegan_size", "progressive_steps", "delta_norm")
"""Options that only the training of progressive encoders has."""


def encoder_config(
    tensors: Mapping[str, Tensor], opts: Mapping[str, Any], rows: int | None
) -> PspConfig:
    """Tell an encoder's configuration from its tensors, and what they cannot tell from options.

    Args:
        tensors: State dict of the encoder.
        opts: Options of its training; may be empty.
        rows: Rows of W+ of its generator, if known; needed where the encoder gives one w.

    Raises:
        CheckpointError: It is no such encoder, or takes other pictures than RGB.
    """
    irse = "input_layer.0.weight" in tensors
    stem = tensors.get("input_layer.0.weight" if irse else "conv1.weight")
    if stem is None or stem.dim() != 4:
        raise CheckpointError("the encoder has neither input_layer.0.weight nor conv1.weight")
    channels = int(stem.shape[1])
    if channels not in (3, 6):
        raise CheckpointError(
            f"the encoder takes {channels} channels; only 3 (a picture) and 6 (a picture and its "
            "reconstruction) can be used",
            value=channels,
            limit=[3, 6],
        )
    head = _head(tensors)
    widths, units = _groups(tensors, "res_layer.3" if irse else "conv2", irse)
    squeezed = tensors.get("body.0.res_layer.5.fc1.weight")
    return PspConfig(
        num_layers=_num_layers(tensors, head, rows),
        w_dim=_w_dim(tensors, head),
        body="irse" if irse else "resnet",
        widths=widths,
        units=units,
        reduction=widths[0] // len(squeezed) if squeezed is not None else 1,
        head=head,
        hidden=_hidden(tensors, head),
        progressive=head in ("pyramid", "last") and _is_progressive(opts),
        input_shape=_input_shape(tensors, opts),
        refines=channels == 6,
        iterations=_passes(opts) if channels == 6 else 1,
    )


def encoder_tensors(
    tensors: Mapping[str, Tensor], config: PspConfig, w_avg: Tensor
) -> dict[str, Tensor]:
    """Make our tensors, batch norms folded in.

    Args:
        tensors: State dict of the encoder.
        config: Its configuration.
        w_avg: What is added to its result, `[num_layers, w_dim]`.

    Raises:
        CheckpointError: Keys are missing or left over, or a shape is wrong.
    """
    body = _irse_rules(config) if config.body == "irse" else _resnet_rules(config)
    rules = {**body, **_head_rules(config), "w_avg": given(w_avg)}
    counters = [key for key in tensors if key.endswith(".num_batches_tracked")]
    return convert(tensors, rules, empty_encoder(Psp.family, config), ignored=counters)


def whole_option(name: str, value: Any, *, at_least: int) -> int:
    """An option of the training that is a whole number.

    Raises:
        CheckpointError: It is none, or too small.
    """
    if not isinstance(value, int) or value < at_least:
        raise CheckpointError(
            f"the option {name} is {shown(value)}, not a whole number from {at_least}",
            value=shown(value),
            limit=at_least,
        )
    return value


def _passes(opts: Mapping[str, Any]) -> int:
    passes = opts.get("n_iters_per_batch", _TRAINED_PASSES)
    return whole_option("n_iters_per_batch", passes, at_least=1)


def _head(tensors: Mapping[str, Tensor]) -> Head:
    if any(key.startswith("styles.") for key in tensors):
        return "pyramid" if "latlayer1.weight" in tensors else "last"
    return "flattened" if "output_layer_2.3.weight" in tensors else "pooled"


def _groups(
    tensors: Mapping[str, Tensor], last: str, irse: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths and numbers of units: a group begins where the shortcut is a convolution."""
    mark = "shortcut_layer.0.weight" if irse else "downsample.0.weight"
    widths: list[int] = []
    units: list[int] = []
    while (weight := tensors.get(f"body.{sum(units)}.{last}.weight")) is not None:
        if not units or f"body.{sum(units)}.{mark}" in tensors:
            widths.append(int(weight.shape[0]))
            units.append(0)
        units[-1] += 1
    if not units:
        raise CheckpointError("the encoder has no body.0", value="body.0")
    return tuple(widths), tuple(units)


def _num_layers(tensors: Mapping[str, Tensor], head: Head, rows: int | None) -> int:
    if head in ("pyramid", "last"):
        return len({key.split(".")[1] for key in tensors if key.startswith("styles.")})
    if head == "flattened":
        return len(_linear(tensors, head)) // _w_dim(tensors, head)
    if rows is None:
        raise CheckpointError(
            "the encoder gives one w, and the file does not tell for how many rows"
        )
    return rows


def _w_dim(tensors: Mapping[str, Tensor], head: Head) -> int:
    # The hidden layer of `flattened` is as wide as w.
    return int(_linear(tensors, head).shape[1 if head == "flattened" else 0])


def _linear(tensors: Mapping[str, Tensor], head: Head) -> Tensor:
    key = "styles.0.linear.weight" if head in ("pyramid", "last") else "linear.weight"
    if key not in tensors or tensors[key].dim() != 2:
        raise CheckpointError(f"the encoder has no matrix {key}", value=key)
    return tensors[key]


def _hidden(tensors: Mapping[str, Tensor], head: Head) -> int:
    return len(tensors["output_layer_2.3.weight"]) if head == "flattened" else PspConfig.hidden


def _is_progressive(opts: Mapping[str, Any]) -> bool:
    kind = opts.get("encoder_type")
    if kind is None:
        return any(option in opts for option in _PROGRESSIVE_OPTIONS)
    return kind in _PROGRESSIVE_TYPES


def _input_shape(tensors: Mapping[str, Tensor], opts: Mapping[str, Any]) -> tuple[int, int]:
    """The picture's sides: the convolutions of the first style halve a 16th of it to one pixel."""
    halvings = sum(key.startswith("styles.0.convs.") and key.endswith(".weight") for key in tensors)
    side = 16 << halvings if halvings else _W_INPUT_SIDE
    cars = str(opts.get("dataset_type", "")).startswith("cars")
    return (side * 3 // 4 if cars else side, side)


def _irse_rules(config: PspConfig) -> dict[str, Rule]:
    rules = {
        "body.stem.weight": folded_weight("input_layer.0.weight", "input_layer.1"),
        "body.stem.bias": folded_bias("input_layer.1"),
        "body.slope": copy("input_layer.2.weight"),
    }
    for ours, theirs, first in _unit_names(config):
        layers = f"{theirs}.res_layer"
        rules |= {
            f"{ours}.scale": norm_scale(f"{layers}.0", -1, 1, 1),
            f"{ours}.shift": norm_shift(f"{layers}.0", -1, 1, 1),
            f"{ours}.conv1.weight": copy(f"{layers}.1.weight"),
            f"{ours}.slope": copy(f"{layers}.2.weight"),
            f"{ours}.squeeze.weight": copy(f"{layers}.5.fc1.weight"),
            f"{ours}.excite.weight": copy(f"{layers}.5.fc2.weight"),
            **_folded(f"{ours}.conv2", f"{layers}.3", f"{layers}.4"),
        }
        if first and not ours.startswith("body.groups.0."):
            shortcut = f"{theirs}.shortcut_layer"
            rules |= _folded(f"{ours}.shortcut", f"{shortcut}.0", f"{shortcut}.1")
    return rules


def _resnet_rules(config: PspConfig) -> dict[str, Rule]:
    rules = {"body.slope": copy("relu.weight"), **_folded("body.stem", "conv1", "bn1")}
    for ours, theirs, first in _unit_names(config):
        rules |= _folded(f"{ours}.conv1", f"{theirs}.conv1", f"{theirs}.bn1")
        rules |= _folded(f"{ours}.conv2", f"{theirs}.conv2", f"{theirs}.bn2")
        if first and not ours.startswith("body.groups.0."):
            shortcut = f"{theirs}.downsample"
            rules |= _folded(f"{ours}.shortcut", f"{shortcut}.0", f"{shortcut}.1")
    return rules


def _unit_names(config: PspConfig) -> list[tuple[str, str, bool]]:
    """Of each unit our name, theirs, and whether it is the first of its group."""
    pairs = [(group, unit) for group, count in enumerate(config.units) for unit in range(count)]
    return [
        (f"body.groups.{group}.{unit}", f"body.{index}", unit == 0)
        for index, (group, unit) in enumerate(pairs)
    ]


def _folded(ours: str, conv: str, norm: str) -> dict[str, Rule]:
    return {
        f"{ours}.weight": folded_weight(f"{conv}.weight", norm),
        f"{ours}.bias": folded_bias(norm),
    }


def _head_rules(config: PspConfig) -> dict[str, Rule]:
    if config.head == "pooled":
        return _equal_linear("head.linear", "linear", config.widths[-1])
    if config.head == "flattened":
        return {**_flattened_rules(), **_equal_linear("head.linear", "linear", config.hidden)}
    rules: dict[str, Rule] = {}
    for row in range(config.num_layers):
        for index in range(config.style_convolutions(row)):
            for part in ("weight", "bias"):
                theirs = f"styles.{row}.convs.{2 * index}.{part}"
                rules[f"styles.{row}.convs.{index}.{part}"] = copy(theirs)
        rules |= _equal_linear(f"styles.{row}.linear", f"styles.{row}.linear", config.w_dim)
    if config.head == "pyramid":
        for ours, theirs in (("medium", "latlayer1"), ("fine", "latlayer2")):
            for part in ("weight", "bias"):
                rules[f"head.{ours}.{part}"] = copy(f"{theirs}.{part}")
    return rules


def _equal_linear(ours: str, theirs: str, inputs: int) -> dict[str, Rule]:
    return {
        f"{ours}.weight": scaled(f"{theirs}.weight", 1 / math.sqrt(inputs)),
        f"{ours}.bias": copy(f"{theirs}.bias"),
    }


def _flattened_rules() -> dict[str, Rule]:
    """The batch norm before the pooling goes through it unchanged, into the linear layer."""
    matrix, norm = "output_layer_2.3", "output_layer_2.0"
    scale, shift = norm_scale(norm, -1), norm_shift(norm, -1)

    def weight(tensor: Tensor, *parts: Tensor) -> Tensor:
        return tensor * scale.function(*parts).float().repeat_interleave(_CELLS)

    def bias(own: Tensor, tensor: Tensor, *parts: Tensor) -> Tensor:
        return own + tensor.double() @ shift.function(*parts).repeat_interleave(_CELLS)

    return {
        "head.hidden.weight": Rule((f"{matrix}.weight", *scale.keys), weight),
        "head.hidden.bias": Rule((f"{matrix}.bias", f"{matrix}.weight", *shift.keys), bias),
    }

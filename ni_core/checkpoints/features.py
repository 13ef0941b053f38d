"""Feature networks from files: this project's own, and weights for networks of other packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ni_core.bundles.manifest import FEATURES_PART
from ni_core.checkpoints.document import open_document
from ni_core.checkpoints.state_dicts import find_state_dict
from ni_core.encoders.foreign_features import architecture
from ni_core.encoders.frozen import FeaturesConfig, FrozenFeatures, build_features
from ni_core.errors import CheckpointError, InvalidOptionError
from ni_core.generators.unfilled import fields_of

NORMALISATIONS = {
    "open_clip": ((0.4814547, 0.4578275, 0.4082107), (0.2686295, 0.2613026, 0.2757771)),
    "": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and deviation of pictures in [0, 1] by package; the last one is ImageNet's."""

SIDE = 224
"""Pixels a side that networks of other packages were trained on, unless the caller knows better."""

TOKENS = 3
"""Dimensions of what a transformer works on: `[n, tokens, numbers]`."""

DEPTH = 2
"""Inner maps are looked for so many names deep."""


def load_features(
    source: str | Path, weights: Path | None = None, *, side: int | None = None
) -> FrozenFeatures:
    """Load a frozen feature network.

    Args:
        source: Folder or file that `ni train contrastive` wrote, or `PACKAGE:NAME` of a network
            of torchvision, timm or open_clip.
        weights: State dict for `PACKAGE:NAME`: safetensors or a file of torch.save, which is read
            without running code.
        side: Pictures are brought to so many pixels; by default what the network was trained on.

    Returns:
        The network on the CPU.

    Raises:
        InvalidOptionError: `PACKAGE:NAME` without weights.
        CheckpointError: A file cannot be read, or is of another network.
        BrokenBundleError: The package is not installed, or has no such network.
    """
    if Path(source).exists():
        return _own(Path(source))
    if ":" not in str(source):
        raise CheckpointError(f"there are no features at {source}", value=str(source))
    if weights is None:
        raise InvalidOptionError(
            f"{source} needs a file with its weights: nothing is downloaded",
            option="weights",
            value=None,
        )
    return _foreign(str(source), weights, side or SIDE)


def _own(path: Path) -> FrozenFeatures:
    file = path / f"{FEATURES_PART}.safetensors" if path.is_dir() else path
    try:
        document = json.loads(file.with_suffix(".json").read_text())
        config = FeaturesConfig(**fields_of(document["config"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file.stem}.json beside {file} cannot be read: {error!r}"
        ) from error
    return build_features(config, _tensors(file))


def _foreign(name: str, weights: Path, side: int) -> FrozenFeatures:
    mean, deviation = NORMALISATIONS.get(name.partition(":")[0], NORMALISATIONS[""])
    config = FeaturesConfig(
        network=name,
        side=side,
        widths=(),
        mean=tuple(2 * value - 1 for value in mean),
        scale=tuple(2 * value for value in deviation),
    )
    body = architecture(name).eval()
    tensors = _fitting(body, _tensors(weights), weights)
    body.load_state_dict(tensors, strict=True, assign=True)
    stages, output = find_stages(body, side)
    config = replace(
        config, stages=tuple(stages), stage_widths=tuple(stages.values()), output=output
    )
    return build_features(config, {f"network.body.{key}": value for key, value in tensors.items()})


@torch.no_grad()
def find_stages(body: nn.Module, side: int) -> tuple[dict[str, int], int]:
    """Find the modules that make the last map of each size, by looking at one picture.

    Args:
        body: From normalised pictures to any output.
        side: Of the picture in pixels.

    Returns:
        Channels of each map by module, the finest first, at least 2 pixels a side, none where the
        network turns them into rows of tokens; and the size of the output.
    """
    seen: dict[int, tuple[str, int]] = {}
    rows: list[str] = []

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if _is_map(output) and 2 <= output.shape[2] < side:
                seen[int(output.shape[2])] = (name, int(output.shape[1]))
            if isinstance(output, Tensor) and output.dim() == TOKENS:
                rows.append(name)

        return hook

    hooks = [
        module.register_forward_hook(look(name))
        for name, module in body.named_modules()
        if name and name.count(".") < DEPTH
    ]
    output = body(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    stages = dict(found for _, found in sorted(seen.items(), reverse=True))
    return {} if rows else stages, int(output.flatten(1).shape[1])


def _is_map(output: Any) -> bool:
    return isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] == output.shape[3]


def _tensors(path: Path) -> Mapping[str, Tensor]:
    document = open_document(path)
    tensors = find_state_dict(document.root, ("state_dict", "model", "model_state_dict"))
    if tensors is None:
        raise CheckpointError(f"{path.name} holds no weights, but {document.summary()}")
    return {
        key: value.float() if value.is_floating_point() else value for key, value in tensors.items()
    }


def _fitting(body: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors a network has, without a classifier's and others'.

    Raises:
        CheckpointError: One is missing or has another shape.
    """
    plain = {key.removeprefix("visual."): value for key, value in tensors.items()}
    fitting = {}
    for key, expected in body.state_dict().items():
        found = plain.get(key)
        if found is None and key.endswith("num_batches_tracked"):
            found = torch.zeros_like(expected)
        if found is None or found.shape != expected.shape:
            shape = "missing" if found is None else f"of shape {list(found.shape)}"
            raise CheckpointError(
                f"{path.name} does not fit the network: {key} is {shape}, should be "
                f"{list(expected.shape)}",
                value=key,
                limit=list(expected.shape),
            )
        fitting[key] = found
    return fitting

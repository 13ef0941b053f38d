"""Perceptual trunks from files: which network it is, and whether LPIPS is calibrated on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ni_core.bundles.manifest import TRUNKS
from ni_core.checkpoints.document import Document, open_document
from ni_core.errors import BrokenBundleError, CheckpointError
from ni_core.perceptual import load_perceptual

_PREFIX = "features."

_IMAGENET = {
    "9a3cd24c3da63ec76ec50dabac44e862029b5c84992e5ddd582be22d0f9ef388",  # squeezenet1_1
}
"""Digests of torchvision's ImageNet trunks, as `_digest` makes them, where they are known."""


@dataclass(frozen=True)
class Trunk:
    """A feature network for LPIPS.

    Attributes:
        tensors: Its weights under torchvision's keys, `features.N...`.
        architecture: One of `TRUNKS`.
        name: What reports call it.
        calibrated: Whether the lpips package's channel weights fit it.
        notes: What was found out about it, one sentence each.
    """

    tensors: Mapping[str, Tensor]
    architecture: str
    name: str
    calibrated: bool
    notes: tuple[str, ...] = ()


def read_trunk(
    path: Path, *, architecture: str | None = None, calibrated: bool | None = None
) -> Trunk:
    """Read trunk weights; the network is told by the shapes.

    The lpips package's channel weights were fitted on torchvision's ImageNet weights, so they are
    used only on those: known by the digest of the weights, or by that of the file, the start of
    which is part of the name torchvision gives it.

    Args:
        path: A state dict with torchvision's keys, `features.N...`; others are ignored.
        architecture: One of `TRUNKS`, to say which network it must be.
        calibrated: Whether the channel weights fit, where the caller knows better.

    Raises:
        CheckpointError: The file cannot be read, or is of none of these networks.
    """
    document = open_document(path)
    tensors = _features(document)
    found = _architecture(path, tensors, architecture)
    genuine = _is_imagenet(path, tensors, found)
    fits = genuine if calibrated is None else calibrated
    kind = "imagenet" if genuine else path.stem
    if genuine:
        note = "the trunk is torchvision's, trained on ImageNet: LPIPS is calibrated"
    elif fits:
        note = "LPIPS is calibrated because the importing user said so"
    else:
        note = (
            "the trunk is not known to be torchvision's: LPIPS counts all channels 1, and its "
            "values compare with those of the same trunk only"
        )
    return Trunk(tensors, found, f"{kind}-{TRUNKS[found]}", fits, (note,))


def _features(document: Document) -> dict[str, Tensor]:
    root: Any = document.root
    if isinstance(root, Mapping) and isinstance(root.get("state_dict"), Mapping):
        root = root["state_dict"]
    entries = root.items() if isinstance(root, Mapping) else ()
    tensors = {
        str(key): value
        for key, value in entries
        if str(key).startswith(_PREFIX) and isinstance(value, Tensor)
    }
    if not tensors:
        raise CheckpointError(
            f"{document.path.name} is no trunk: it has no tensors called {_PREFIX}N. It has "
            f"{document.summary()}",
            value=document.path.name,
            limit=list(TRUNKS),
        )
    return tensors


def _architecture(path: Path, tensors: Mapping[str, Tensor], wanted: str | None) -> str:
    reasons = []
    for name in TRUNKS if wanted is None else (wanted,):
        try:
            load_perceptual(tensors, architecture=TRUNKS[name], name=name, calibrated=False)
        except BrokenBundleError as error:
            reasons.append(str(error))
        else:
            return name
    raise CheckpointError(
        f"{path.name} is no trunk that is known: {'; '.join(reasons)}",
        value=path.name,
        limit=list(TRUNKS),
    )


def _is_imagenet(path: Path, tensors: Mapping[str, Tensor], architecture: str) -> bool:
    if _digest(tensors) in _IMAGENET:
        return True
    from torchvision.models import get_model_weights  # takes seconds, and only this needs it

    weights: Any = get_model_weights(architecture)
    published = Path(weights.IMAGENET1K_V1.url).stem.rpartition("-")[2]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(published)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(tensors[key].detach().float().numpy()).tobytes())
    return digest.hexdigest()

"""Containers of genforce and SeFa files, the same for all of their families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from torch import Tensor

from ni_core.checkpoints.document import Document

_NAMES = ("generator_smooth", "generator")
"""Networks of a file, the preferred one first: the running mean makes better pictures."""


def unwrap(document: Document) -> Mapping[str, Tensor] | None:
    """Find the generator's state dict in a published, a training or a bare file.

    Args:
        document: Any file.

    Returns:
        Tensors by name, or None where there are none; whose they are tells the caller by names.
    """
    root = document.root
    if isinstance(root, Mapping) and isinstance(root.get("models"), Mapping):
        root = root["models"]
    if not isinstance(root, Mapping):
        return None
    candidates = [root.get(name) for name in _NAMES] + [root]
    return next((found for found in candidates if is_state_dict(found)), None)


def is_state_dict(value: Any) -> TypeGuard[Mapping[str, Tensor]]:
    """Whether these are tensors by name, at least one."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(tensor, Tensor) for tensor in value.values())
    )

"""Containers of genforce and SeFa files, the same for all of their families."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ni_core.checkpoints.document import Document
from ni_core.checkpoints.state_dicts import find_state_dict

_NAMES = ("generator_smooth", "generator")
"""Networks of a file, the preferred one first: the running mean makes better pictures."""


def unwrap(document: Document) -> dict[str, Tensor] | None:
    """Find the generator's state dict in a published, a training or a bare file.

    Args:
        document: Any file.

    Returns:
        Tensors by name, or None where there are none; whose they are tells the caller by names.
    """
    root = document.root
    if isinstance(root, Mapping) and isinstance(root.get("models"), Mapping):
        root = root["models"]
    return find_state_dict(root, _NAMES)

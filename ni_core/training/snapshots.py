"""Snapshots of a training: folders of a few small files, whole or not there.

A folder `checkpoint-00217248` holds `checkpoint.json` and safetensors files. Tensors are named
`part.name`; every tensor stands in one file, and which one has no meaning, so files can be kept
small whatever is trained.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ni_core.errors import CheckpointError

FILE_BYTES = 15 << 20
"""A file is cut before its tensors exceed this; a tensor is never cut."""

KEPT = 8
"""Older snapshots are deleted."""

DOCUMENT = "checkpoint.json"


def write_snapshot(
    folder: Path, seen: int, document: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Path:
    """Write a snapshot, whole or not at all, and drop the oldest ones.

    A snapshot of the same number of pictures is left alone: nothing was trained since.

    Args:
        folder: Where snapshots are kept; made if missing.
        seen: Pictures seen so far; names the snapshot.
        document: What else is to be kept, as JSON values.
        tensors: By `part.name`.

    Returns:
        The snapshot's own folder.
    """
    path = folder / f"checkpoint-{seen:08d}"
    if path.exists():
        return path
    partial = folder / "partial-checkpoint"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, part in _files(tensors):
        save_file(part, partial / name)
    whole = {**document, "seen": seen, "tensors": len(tensors)}
    (partial / DOCUMENT).write_text(json.dumps(whole, indent=2) + "\n")
    partial.rename(path)
    for old in list_snapshots(folder)[:-KEPT]:
        shutil.rmtree(old)
    return path


def list_snapshots(folder: Path) -> list[Path]:
    """Snapshots of a folder, by the pictures they have seen."""
    return sorted(folder.glob("checkpoint-*"))


def read_seen(path: Path) -> int:
    """Pictures a snapshot has seen, without reading its tensors."""
    seen: int = json.loads((path / DOCUMENT).read_text())["seen"]
    return seen


def read_snapshot(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the document and the tensors of a snapshot.

    Raises:
        CheckpointError: A file is missing or cannot be read.
    """
    try:
        document = json.loads((path / DOCUMENT).read_text())
        tensors: dict[str, Tensor] = {}
        for file in sorted(path.glob("*.safetensors")):
            tensors |= load_file(file)
        if len(tensors) != document["tensors"]:
            raise ValueError(f"{len(tensors)} of {document['tensors']} tensors are there")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error!r}") from error
    return document, tensors


def _files(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Names and tensors of the files, each of at most `FILE_BYTES`."""
    file: dict[str, Tensor] = {}
    number, size = 1, 0
    for key, value in tensors.items():
        if file and size + value.nbytes > FILE_BYTES:
            yield f"tensors-{number}.safetensors", file
            file, number, size = {}, number + 1, 0
        file[key] = value.detach().cpu().contiguous()
        size += value.nbytes
    yield f"tensors-{number}.safetensors", file

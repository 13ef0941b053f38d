"""A foreign file as plain data, whatever it is packed in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ni_core.checkpoints import archive as zips
from ni_core.checkpoints import arrays
from ni_core.checkpoints.archive import Archive
from ni_core.checkpoints.budget import Budget
from ni_core.checkpoints.inert import Inert, shown
from ni_core.checkpoints.stream import ByteStream, map_file
from ni_core.checkpoints.torch_files import (
    LEGACY_MAGIC,
    is_torch_archive,
    load_archive,
    load_legacy,
    load_nested,
)
from ni_core.checkpoints.tree import check_tree
from ni_core.checkpoints.unpickler import Unpickler
from ni_core.errors import CheckpointError, UnsafeCheckpointError

__all__ = ["Document", "Inert", "errors_of", "open_document"]

_SHOWN_KEYS = 10

_MISTAKEN = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself"),
    (b"<!DOCTYPE", "is a web page, not the file itself"),
    (b"<html", "is a web page, not the file itself"),
    (b"\x1f\x8b", "is packed with gzip; unpack it first"),
)


@dataclass(frozen=True)
class Document:
    """Content of a file.

    Attributes:
        path: The file.
        kind: How it is packed: torch, pickle, safetensors, npy, npz or pt2.
        root: Nested dicts, lists, tuples, sets, numbers, texts, tensors, arrays and `Inert`
            objects; None for pt2. Tensors may be views of the mapped file.
        layout: What a layout file says of it, if one was given.
    """

    path: Path
    kind: str
    root: Any
    layout: Mapping[str, Any] | None = None

    def summary(self) -> str:
        """Say in a few words what the file holds, for error messages."""
        return f"a {self.kind} file of {_described(self.root)}"


def open_document(path: Path) -> Document:
    """Read a file of torch.save (old or new), pickle, NumPy, safetensors or torch.export.

    Nothing in the file is run, and memory stays within a small multiple of its size. How it is
    packed is recognised from its content.

    Args:
        path: The file.

    Returns:
        Its content as plain data; a program of torch.export is only recognised.

    Raises:
        CheckpointError: It cannot be read.
        UnsafeCheckpointError: Reading it would run code or take unbounded memory.
    """
    path = Path(path)
    with errors_of(path):
        view = map_file(path)
        kind, root = _read(path, view, Budget(len(view)))
        check_tree(root)
    return Document(path, kind, root)


def _read(path: Path, view: memoryview, budget: Budget) -> tuple[str, Any]:
    head = bytes(view[:32])
    if head.startswith(zips.MAGIC):
        return _read_archive(Archive(path, view, budget), budget)
    if head.startswith(arrays.MAGIC):
        return "npy", _read_npy(view, budget)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= len(view) - 8:
        return "safetensors", load_file(path)
    for start, meaning in _MISTAKEN:
        if head.startswith(start):
            raise CheckpointError(meaning)
    stream = ByteStream(view)
    root = Unpickler(stream, budget, nested=load_nested).load()
    if isinstance(root, int) and root == LEGACY_MAGIC:
        return "torch", load_legacy(stream, budget)
    return "pickle", root


def _read_archive(archive: Archive, budget: Budget) -> tuple[str, Any]:
    if any(_is_program(name) for name in archive.names):
        return "pt2", None
    if is_torch_archive(archive):
        return "torch", load_archive(archive, budget)
    if archive.names and all(name.endswith(".npy") for name in archive.names):
        entries = {name: archive.view(name) for name in archive.names}
        return "npz", {
            name.removesuffix(".npy"): _read_npy(entry, budget) for name, entry in entries.items()
        }
    raise CheckpointError(
        f"is a zip file of {len(archive.names)} entries, none of them of torch or NumPy"
    )


def _is_program(name: str) -> bool:
    return name == "serialized_exported_program.json" or name.endswith("/archive_format")


def _read_npy(view: memoryview, budget: Budget) -> Any:
    stream = ByteStream(view)
    dtype, shape, fortran = arrays.read_header(stream)
    if dtype.hasobject:
        return Unpickler(stream, budget, nested=load_nested).load()
    content = stream.view(int(np.prod(shape, dtype=object)) * dtype.itemsize)
    return arrays.array_of(budget, content, dtype, shape, fortran=fortran)


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Turn every error of reading into a CheckpointError that names the file."""
    try:
        yield
    except CheckpointError as error:
        raise type(error)(f"{path.name}: {error}", **error.details) from error
    except OSError as error:
        raise CheckpointError(f"{path.name}: cannot be read: {error.strerror}") from error
    except (MemoryError, RecursionError) as error:
        raise UnsafeCheckpointError(
            f"{path.name}: is too deep or too large: {type(error).__name__}"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path.name}: is damaged or of no known kind: {type(error).__name__}: {error!s:.200}"
        ) from error


def _described(root: Any) -> str:
    if isinstance(root, dict):
        keys = [shown(key) for key in list(root)[:_SHOWN_KEYS]]
        more = f" and {len(root) - _SHOWN_KEYS} more" if len(root) > _SHOWN_KEYS else ""
        return f"a dict with the keys {', '.join(keys)}{more}" if keys else "an empty dict"
    if isinstance(root, list | tuple):
        inside = ", ".join(sorted({_described_briefly(item) for item in root[:_SHOWN_KEYS]}))
        return f"a {type(root).__name__} of {len(root)}: {inside}"
    return _described_briefly(root)


def _described_briefly(item: Any) -> str:
    if isinstance(item, Inert):
        return f"{item.module}.{item.name}"[:80]
    if isinstance(item, torch.Tensor | np.ndarray):
        return f"{type(item).__name__} of shape {list(item.shape)}"
    return type(item).__name__

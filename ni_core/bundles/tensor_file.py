"""Tensors to a safetensors file, one at a time: a model is never in memory twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ni_core.errors import InvalidInputError

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class WrittenFile:
    """A file that is on the disk.

    Attributes:
        name: Its name.
        nbytes: Its size.
        sha256: Its SHA-256, hexadecimal.
    """

    name: str
    nbytes: int
    sha256: str


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> WrittenFile:
    """Write a safetensors file and wait until the disk has it.

    Args:
        path: The new file.
        tensors: What to write; they may be views, and on any device.

    Raises:
        InvalidInputError: The disk has too little room.
        OSError: The file cannot be written.
    """
    order = sorted(tensors, key=lambda key: (-tensors[key].element_size(), key))
    header = _header({key: tensors[key] for key in order})
    nbytes = len(header) + sum(tensor.nbytes for tensor in tensors.values())
    check_room(path, nbytes)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        blocks: Iterator[bytes | memoryview] = chain(
            [header], (_content(tensors[key]) for key in order)
        )
        for block in blocks:
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return WrittenFile(path.name, nbytes, digest.hexdigest())


def check_room(path: Path, nbytes: int) -> None:
    """Refuse to start a file that the disk has no room for.

    Raises:
        InvalidInputError: The disk has too little room.
    """
    free = shutil.disk_usage(path.parent).free
    if nbytes > free:
        raise InvalidInputError(
            f"{path.name} needs {nbytes:,} bytes, and the disk of its folder has {free:,} free",
            value=nbytes,
            limit=free,
        )


def _content(tensor: Tensor) -> memoryview:
    """The bytes of a tensor, copied only if it is a view with gaps."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    """Length and table of contents; offsets count from the end of the header."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for key, tensor in tensors.items():
        entries[key] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text

"""Zip files: entries that are stored as they are stay views of the file, others are unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from ni_core.checkpoints.budget import Budget
from ni_core.errors import CheckpointError, UnsafeCheckpointError

MAGIC = b"PK\x03\x04"

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1


class Archive:
    """A zip file.

    Attributes:
        names: Names of its entries.
    """

    def __init__(self, path: Path, view: memoryview, budget: Budget) -> None:
        self._view = view
        self._budget = budget
        with zipfile.ZipFile(path) as file:
            self._entries = {entry.filename: entry for entry in file.infolist()}
        self.names = tuple(self._entries)
        for entry in self._entries.values():
            if entry.flag_bits & _ENCRYPTED:
                raise CheckpointError(f"its entry {entry.filename[:80]} is encrypted")

    def view(self, name: str) -> memoryview:
        """The bytes of an entry.

        Raises:
            CheckpointError: It is not there, or damaged.
            UnsafeCheckpointError: It is much larger than the file.
        """
        if name not in self._entries:
            raise CheckpointError(f"lacks the entry {name[:80]}")
        entry = self._entries[name]
        packed = self._packed(entry)
        if entry.compress_type == zipfile.ZIP_STORED:
            if entry.file_size != entry.compress_size:
                raise CheckpointError(f"its entry {name[:80]} has two sizes")
            return packed
        if entry.compress_type != zipfile.ZIP_DEFLATED:
            raise CheckpointError(f"its entry {name[:80]} is packed in a way that is not read")
        self._budget.unpack(entry.file_size)
        unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.file_size + 1)
        if len(unpacked) != entry.file_size:
            raise UnsafeCheckpointError(
                f"its entry {name[:80]} has not the {entry.file_size} bytes that are announced",
                value=len(unpacked),
                limit=entry.file_size,
            )
        return memoryview(bytearray(unpacked))

    def _packed(self, entry: zipfile.ZipInfo) -> memoryview:
        header = self._view[entry.header_offset : entry.header_offset + _LOCAL_HEADER.size]
        magic, *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        if magic != MAGIC or start + entry.compress_size > len(self._view):
            raise CheckpointError(f"its entry {entry.filename[:80]} is damaged")
        return self._view[start : start + entry.compress_size]

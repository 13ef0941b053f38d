"""Bytes of a file, read one after the other without copies of the long ones."""

from __future__ import annotations

import mmap
from pathlib import Path

from ni_core.errors import CheckpointError

_LINE_BYTES = 256


class ByteStream:
    """A position in bytes; a claimed length beyond their end costs nothing.

    Attributes:
        position: Index of the next byte.
    """

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.position = 0

    def __len__(self) -> int:
        return len(self._view)

    @property
    def rest(self) -> int:
        """Bytes from here to the end."""
        return len(self._view) - self.position

    def read(self, n: int = -1) -> bytes:
        """Up to n bytes, or all that are left."""
        return bytes(self._take(self.rest if n < 0 else min(n, self.rest)))

    def readline(self) -> bytes:
        """Bytes up to and with the next line feed, or all that are left."""
        start, length = self.position, _LINE_BYTES
        while True:
            piece = bytes(self._view[start : start + length])
            end = piece.find(b"\n")
            if end >= 0 or len(piece) < length:
                return self.read(end + 1 if end >= 0 else len(piece))
            length *= 4

    def view(self, n: int) -> memoryview:
        """Exactly n bytes, not copied.

        Raises:
            CheckpointError: There are fewer.
        """
        if not 0 <= n <= self.rest:
            raise CheckpointError(
                f"ends too early: {n} bytes are announced at byte {self.position}, "
                f"{self.rest} are there",
                value=n,
                limit=self.rest,
            )
        return self._take(n)

    def _take(self, n: int) -> memoryview:
        start = self.position
        self.position += n
        return self._view[start : self.position]


def map_file(path: Path) -> memoryview:
    """Map a file into memory: pages are read as they are used, and writing changes no file.

    Raises:
        CheckpointError: It is no file, or empty.
        OSError: It cannot be opened.
    """
    if not path.is_file():
        raise CheckpointError("is not a file")
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise CheckpointError("is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

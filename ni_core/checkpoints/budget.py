"""How much a file may ask for before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from ni_core.errors import UnsafeCheckpointError

_VIEWED_PER_BYTE = 8
"""Bytes of tensors that each byte of a file may become, where views of one storage count each."""

_OWNED_PER_BYTE = 2
"""Bytes of memory of our own for each byte read."""

_UNPACKED_PER_BYTE = 64
"""Bytes that each byte of a compressed file may become."""

_SLACK_BYTES = 16 << 20
"""So much any file may ask for, however small it is."""

_MAX_STEPS = 2_000_000
"""Instructions of a pickle; a file with ten thousand tensors has about half a million."""

_MAX_CONTAINERS = 500_000
"""Lists, tuples, dicts and calls; each tensor takes about six."""

_MAX_COPIES = 4_000_000
"""Elements copied from one container of a pickle to another."""


@dataclass
class Budget:
    """What is left of what one file may ask for.

    Attributes:
        file_bytes: Size of the file.
    """

    file_bytes: int
    steps: int = 0
    containers: int = 0
    copies: int = 0
    viewed_bytes: int = 0
    owned_bytes: int = 0
    unpacked_bytes: int = 0

    def step(self) -> None:
        """Count an instruction."""
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise _refused(self.steps, _MAX_STEPS, "instructions")

    def container(self, elements: int = 0) -> None:
        """Count a list, tuple, dict or call, and the elements copied into it."""
        self.containers += 1
        self.copies += elements
        if self.containers > _MAX_CONTAINERS:
            raise _refused(self.containers, _MAX_CONTAINERS, "containers")
        if self.copies > _MAX_COPIES:
            raise _refused(self.copies, _MAX_COPIES, "copied elements")

    def view(self, nbytes: int) -> None:
        """Count the bytes of a tensor as if it had memory of its own."""
        self.viewed_bytes += nbytes
        limit = _VIEWED_PER_BYTE * (self.file_bytes + self.unpacked_bytes) + _SLACK_BYTES
        if self.viewed_bytes > limit:
            raise _refused(self.viewed_bytes, limit, "bytes of tensors")

    def own(self, nbytes: int) -> None:
        """Count memory before it is taken."""
        self.owned_bytes += nbytes
        limit = _OWNED_PER_BYTE * (self.file_bytes + self.unpacked_bytes) + _SLACK_BYTES
        if self.owned_bytes > limit:
            raise _refused(self.owned_bytes, limit, "bytes of memory")

    def unpack(self, nbytes: int) -> None:
        """Count the bytes of an archive's compressed entry before it is unpacked."""
        self.unpacked_bytes += nbytes
        limit = _UNPACKED_PER_BYTE * self.file_bytes + _SLACK_BYTES
        if self.unpacked_bytes > limit:
            raise _refused(self.unpacked_bytes, limit, "unpacked bytes")


def _refused(value: int, limit: int, what: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"asks for {value} {what}, more than the {limit} that a file of its size may",
        value=value,
        limit=limit,
    )

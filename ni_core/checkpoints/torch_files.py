"""Files of `torch.save`: zip archives since torch 1.6, and the stream of pickles before."""

from __future__ import annotations

from typing import Any

import torch

from ni_core.checkpoints.archive import Archive
from ni_core.checkpoints.budget import Budget
from ni_core.checkpoints.inert import Inert, shown
from ni_core.checkpoints.stream import ByteStream
from ni_core.checkpoints.tensors import Storage, StorageType, raw_bytes
from ni_core.checkpoints.unpickler import Unpickler
from ni_core.errors import CheckpointError, UnsafeCheckpointError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_PICKLE = "data.pkl"


def is_torch_archive(archive: Archive) -> bool:
    """Tell whether a zip file is one of `torch.save`."""
    return any(name.count("/") == 1 and name.endswith(f"/{_PICKLE}") for name in archive.names)


def load_archive(archive: Archive, budget: Budget) -> Any:
    """Read a zip file of `torch.save`; the tensors are views of the mapped file.

    Raises:
        CheckpointError: It is damaged, a program, or of another byte order.
        UnsafeCheckpointError: It asks for too much, or for something dangerous.
    """
    name = next(name for name in archive.names if name.endswith(f"/{_PICKLE}"))
    folder = name.removesuffix(_PICKLE)
    if f"{folder}constants.pkl" in archive.names:
        raise CheckpointError("is a TorchScript program; save its state dict instead")
    if f"{folder}byteorder" in archive.names:
        _check_order(bytes(archive.view(f"{folder}byteorder")) == b"little")
    storages: dict[str, torch.Tensor] = {}

    def storage(identity: Any) -> Any:
        kind, key, numbers = _identity(identity)
        if key not in storages:
            storages[key] = raw_bytes(budget, archive.view(f"{folder}data/{key}"), kind.itemsize)
        return _checked(storages[key], kind, numbers, key)

    return Unpickler(ByteStream(archive.view(name)), budget, persistent=storage).load()


def load_legacy(stream: ByteStream, budget: Budget) -> Any:
    """Read a file of `torch.save` before torch 1.6, from behind its magic number on.

    Raises:
        CheckpointError: It is damaged, or of another byte order.
        UnsafeCheckpointError: It asks for too much, or for something dangerous.
    """
    protocol, system = (Unpickler(stream, budget).load() for _ in range(2))
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
        raise CheckpointError(f"is a torch file of the unknown protocol {shown(protocol)}")
    _check_order(system.get("little_endian") is True)
    storages: dict[str, tuple[torch.Tensor, StorageType]] = {}

    def storage(identity: Any) -> Any:
        if isinstance(identity, tuple) and len(identity) > 1 and identity[0] == "module":
            return identity[1]
        kind, key, numbers = _identity(identity)
        if key not in storages:
            if numbers * kind.itemsize > stream.rest:
                raise CheckpointError(f"ends before the {numbers} numbers of storage {key}")
            budget.own(numbers * kind.itemsize)
            storages[key] = torch.empty(numbers * kind.itemsize, dtype=torch.uint8), kind
        return _part(_checked(storages[key][0], kind, numbers, key), identity)

    root = Unpickler(stream, budget, persistent=storage).load()
    _fill(stream, budget, storages)
    return root


def load_nested(content: memoryview, budget: Budget) -> Any:
    """Read the torch file inside a byte string: one storage of an NVIDIA pickle.

    Raises:
        CheckpointError: It is damaged.
        UnsafeCheckpointError: It asks for too much, or for something dangerous.
    """
    stream = ByteStream(content)
    if Unpickler(stream, budget).load() != LEGACY_MAGIC:
        raise CheckpointError("a nested file is no torch file")
    return load_legacy(stream, budget)


def _fill(
    stream: ByteStream, budget: Budget, storages: dict[str, tuple[torch.Tensor, StorageType]]
) -> None:
    keys = Unpickler(stream, budget).load()
    if not isinstance(keys, list) or set(keys) != set(storages):
        raise CheckpointError(f"lacks storages, or has others than its {len(storages)} tensors use")
    for key in keys:
        raw, kind = storages[key]
        numbers = int.from_bytes(stream.view(8), "little")
        if numbers * kind.itemsize != len(raw):
            raise CheckpointError(f"storage {shown(key)} has {numbers} numbers in two places")
        if len(raw):
            raw.copy_(torch.frombuffer(stream.view(len(raw)), dtype=torch.uint8))


def _identity(identity: Any) -> tuple[StorageType, str, int]:
    """Type, key and length of a persistent id: ("storage", type, key, device, length, view)."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise UnsafeCheckpointError("names an object outside the file that is no storage")
    _, kind, key, _, numbers = identity[:5]
    if isinstance(kind, Inert):
        raise CheckpointError(f"storages of the type {kind.name[:40]} are not read")
    if not isinstance(kind, StorageType) or not isinstance(key, str) or type(numbers) is not int:
        raise CheckpointError("names a storage without type, key and length")
    if numbers < 0:
        raise UnsafeCheckpointError(f"names a storage of {numbers} numbers", value=numbers)
    return kind, key, numbers


def _checked(raw: torch.Tensor, kind: StorageType, numbers: int, key: str) -> Storage:
    if numbers * kind.itemsize > len(raw):
        raise UnsafeCheckpointError(
            f"storage {shown(key)} has {len(raw)} bytes, not {numbers} numbers "
            f"of {kind.itemsize} bytes",
            value=len(raw),
            limit=numbers * kind.itemsize,
        )
    return Storage(raw[: numbers * kind.itemsize], kind.dtype)


def _part(storage: Storage, identity: tuple[Any, ...]) -> Storage:
    """The part of a storage that the sixth entry of an old persistent id asks for."""
    if len(identity) < 6 or identity[5] is None:
        return storage
    _, offset, length = identity[5]
    if type(offset) is not int or type(length) is not int or offset < 0 or length < 0:
        raise UnsafeCheckpointError("names a part of a storage that cannot be")
    itemsize = 1 if storage.dtype is None else storage.dtype.itemsize
    if (offset + length) * itemsize > len(storage.raw):
        raise UnsafeCheckpointError(f"names the numbers {offset} to {offset + length} of a storage")
    return Storage(storage.raw[offset * itemsize : (offset + length) * itemsize], storage.dtype)


def _check_order(little: bool) -> None:
    if not little:
        raise CheckpointError("holds numbers in big-endian byte order, which is not read")

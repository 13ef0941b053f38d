"""Files that attack whoever reads them: pickles that would create a marker file, in all wrappings.

Each payload works in Python's own unpickler (a test proves it); what it would do is harmless.
"""

import copyreg
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

_HERE = "tests.ni_core.checkpoints.hostile"
_EXTENSION_CODE = 0x7E


def spring(marker: str, *_: Any) -> "Trap":
    """What every payload tries to reach."""
    Path(marker).touch()
    return Trap()


class Trap:
    """An object whose every hook creates the marker."""

    def __new__(cls, marker: str = "", **_: Any) -> "Trap":
        if marker:
            Path(marker).touch()
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, marker: str) -> None:
        Path(marker).touch()

    def __setstate__(self, marker: str) -> None:
        Path(marker).touch()

    def __setitem__(self, marker: str, _: Any) -> None:
        Path(marker).touch()

    def append(self, marker: str) -> None:
        Path(marker).touch()

    def extend(self, markers: list[str]) -> None:
        Path(markers[0]).touch()

    add = append


class SlotTrap:
    """An object with a slot that creates the marker when it is set."""

    def _set(self, marker: str) -> None:
        Path(marker).touch()

    slot = property(fset=_set)


def text(value: str) -> bytes:
    """Push a text."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def name(what: str, module: str = _HERE) -> bytes:
    """Push a name."""
    return f"c{module}\n{what}\n".encode()


def stack_name(what: str, module: str = _HERE) -> bytes:
    """Push a name whose parts are on the stack."""
    return text(module) + text(what) + b"\x93"


MADE = name("Trap") + b")R"
"""Push an object of the trap."""

ROUTES: dict[str, Callable[[str], bytes]] = {
    "global_reduce": lambda m: name("spring") + text(m) + b"\x85R",
    "stack_global_reduce": lambda m: b"\x80\x04" + stack_name("spring") + text(m) + b"\x85R",
    "memoised": lambda m: name("spring") + b"q\x00" + text(m) + b"q\x01\x85h\x00h\x01\x85R",
    "inst": lambda m: b"(" + text(m) + f"i{_HERE}\nspring\n".encode(),
    "obj": lambda m: b"(" + name("spring") + text(m) + b"o",
    "newobj": lambda m: b"\x80\x02" + name("Trap") + text(m) + b"\x85\x81",
    "newobj_ex": lambda m: (
        b"\x80\x04" + name("Trap") + b")}" + text("marker") + text(m) + b"s\x92"
    ),
    "build": lambda m: MADE + text(m) + b"b",
    "build_slots": lambda m: name("SlotTrap") + b")RN}" + text("slot") + text(m) + b"s\x86b",
    "append": lambda m: MADE + text(m) + b"a",
    "appends": lambda m: MADE + b"(" + text(m) + b"e",
    "set_item": lambda m: MADE + text(m) + b"Ns",
    "set_items": lambda m: MADE + b"(" + text(m) + b"Nu",
    "add_items": lambda m: b"\x80\x04" + MADE + b"(" + text(m) + b"\x90",
    "call_of_a_result": lambda m: MADE + text(m) + b"\x85R",
    "dotted_name": lambda m: (
        b"\x80\x04" + stack_name("Trap.append") + MADE + text(m) + b"\x86R"
    ),
    "getattr_chain": lambda m: (
        name("getattr", "builtins") + MADE + text("append") + b"\x86R" + text(m) + b"\x85R"
    ),
    "map_in_a_list": lambda m: (
        name("list", "builtins") + name("map", "builtins") + name("spring") + b"]" + text(m)
        + b"a\x86R\x85R"
    ),
    "partial": lambda m: (
        name("partial", "functools") + name("spring") + text(m) + b"\x86R)R"
    ),
    "set_of_a_call": lambda m: (
        b"\x80\x04\x8f(" + name("spring") + text(m) + b"\x85R\x90"
    ),
    "inside_a_tuple": lambda m: b"(K\x01" + name("spring") + text(m) + b"\x85Rt",
    "reduced_class": lambda m: (
        name("_reconstructor", "copyreg") + name("Trap") + name("object", "builtins")
        + b"N\x87R" + text(m) + b"b"
    ),
    "rebuilt_subclass": lambda m: (
        name("_rebuild_from_type_v2", "torch._tensor") + b"(" + name("spring")
        + name("Trap") + text(m) + b"\x85}tR"
    ),
    "os_system": lambda m: name("system", "os") + text(f"touch '{m}'") + b"\x85R",
    "posix_system": lambda m: b"\x80\x04" + stack_name("system", "posix")
    + text(f"touch '{m}'") + b"\x85R",
    "subprocess": lambda m: b"(" + name("call", "subprocess") + b"]("
    + text("touch") + text(m) + b"eo",
    "eval": lambda m: name("eval", "builtins") + text(f"open({m!r}, 'w').close()") + b"\x85R",
    "exec": lambda m: b"(" + text(f"open({m!r}, 'w').close()") + b"ibuiltins\nexec\n",
    "extension": lambda m: b"\x80\x02\x82" + bytes([_EXTENSION_CODE]) + text(m) + b"\x85R",
    "nested_pickle": lambda m: name("loads", "pickle") + pickle.dumps(
        name("spring") + text(m) + b"\x85R.", 3
    )[2:-1] + b"\x85R",
}  # fmt: skip
"""Every way in which a pickle can make something run: text of the marker's path to instructions."""

DANGEROUS = frozenset(
    {"os_system", "posix_system", "subprocess", "eval", "exec", "extension", "nested_pickle"}
)
"""Routes that are refused for what they name or do; the others become inert data or errors."""


def register_extension() -> None:
    """Make the extension code of `extension` mean `spring` in Python's own unpickler."""
    copyreg.add_extension(_HERE, "spring", _EXTENSION_CODE)


def unregister_extension() -> None:
    copyreg.remove_extension(_HERE, "spring", _EXTENSION_CODE)


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return memory.getvalue()


def torch_zip(instructions: bytes, **storages: bytes) -> bytes:
    """A zip file of torch.save."""
    entries = {"a/data.pkl": instructions, "a/byteorder": b"little", "a/version": b"3\n"}
    return zipped(entries | {f"a/data/{key}": content for key, content in storages.items()})


def legacy_head() -> bytes:
    """The three pickles at the start of a file of torch.save before torch 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = (0x1950A86A20F9469CFC6C, 1001, system)
    return b"".join(pickle.dumps(part, 2) for part in parts)


def legacy(instructions: bytes, keys: bytes = b"].", storages: bytes = b"") -> bytes:
    """A file of torch.save before torch 1.6."""
    return legacy_head() + instructions + keys + storages


def npy_of_objects(instructions: bytes) -> bytes:
    """A `.npy` file of an object array."""
    memory = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        memory, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    return memory.getvalue() + instructions


def nested(instructions: bytes) -> bytes:
    """A pickle with a torch file inside a byte string, as NVIDIA's."""
    inner = legacy(instructions)
    length = b"B" + struct.pack("<I", len(inner))
    return b"\x80\x03" + name("_load_from_bytes", "torch.storage") + length + inner + b"\x85R."


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "pickle": lambda instructions: instructions,
    "torch": torch_zip,
    "legacy": legacy,
    "legacy_keys": lambda instructions: legacy(b"N.", keys=instructions),
    "legacy_system": lambda instructions: pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2) + instructions,
    "npy": npy_of_objects,
    "npz": lambda instructions: zipped({"x.npy": npy_of_objects(instructions)}),
    "nested": nested,
    "state_dict": lambda instructions: torch_zip(
        b"}" + text("weight") + instructions[:-1] + b"s."
    ),
}  # fmt: skip
"""Every kind of file that holds a pickle."""


def storage(kind: str, key: str, numbers: int) -> bytes:
    """Push a storage of a torch file."""
    identity = text("storage") + name(kind, "torch") + text(key) + text("cpu")
    return b"(" + identity + pickle.dumps(numbers, 2)[2:-1] + b"tQ"


def tensor(pushed_storage: bytes, offset: int, size: tuple[Any, ...], stride: Any) -> bytes:
    """Push a view of a storage."""
    numbers = b"".join(pickle.dumps(part, 2)[2:-1] for part in (offset, size, stride))
    arguments = b"(" + pushed_storage + numbers + b"\x89}t"
    return name("_rebuild_tensor_v2", "torch._utils") + arguments + b"R"


def saved(value: Any, *, new: bool = True) -> bytes:
    """What torch.save writes."""
    memory = io.BytesIO()
    torch.save(value, memory, _use_new_zipfile_serialization=new)
    return memory.getvalue()

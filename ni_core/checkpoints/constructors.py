"""The allow-list: what a pickle may call, each a function of ours that checks its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

from ni_core.checkpoints.arrays import ArrayDraft, DtypeDraft, number_of
from ni_core.checkpoints.budget import Budget
from ni_core.checkpoints.inert import called, key_of, shown
from ni_core.checkpoints.tensors import DTYPES, STORAGES, StorageType, view_of
from ni_core.errors import CheckpointError, UnsafeCheckpointError

_MODULES = (
    "os posix nt subprocess sys shutil socket pty ctypes importlib runpy code codeop commands "
    "webbrowser multiprocessing marshal pickle _pickle cPickle _posixsubprocess pdb bdb timeit "
    "urllib ftplib smtplib pip"
)
_FUNCTIONS = "eval exec execfile compile open file input raw_input breakpoint __import__ setattr"
_DANGEROUS_MODULES = frozenset(_MODULES.split())
_DANGEROUS_BUILTINS = frozenset(_FUNCTIONS.split())
_BUILTINS = ("builtins", "__builtin__", "__builtins__")


class Machine(Protocol):
    """What the functions may use of the machine that calls them."""

    budget: Budget
    nested: Callable[[memoryview, Budget], Any] | None


def refuse_dangerous(module: str, name: str) -> None:
    """Refuse a file that names what only an attack has a use for.

    Nothing would run without this check either: it is there to tell the user.

    Raises:
        UnsafeCheckpointError: The name is one of these.
    """
    first = name.partition(".")[0]
    in_builtins = module in _BUILTINS and first in _DANGEROUS_BUILTINS
    if in_builtins or module.partition(".")[0] in _DANGEROUS_MODULES or module == "torch.hub":
        full_name = f"{module}.{name}"[:80]
        raise UnsafeCheckpointError(
            f"names {full_name}, which could run code; it was not run, and the file is refused",
            value=full_name,
        )


# Containers. ---------------------------------------------------------------------------------


def _dict(machine: Machine, pairs: Any = ()) -> dict[Any, Any]:
    items = list(pairs.items()) if isinstance(pairs, dict) else _sequence(pairs)
    machine.budget.container(len(items))
    return {key_of(key): value for key, value in items}


def _default_dict(machine: Machine, _: Any = None, pairs: Any = ()) -> dict[Any, Any]:
    return _dict(machine, pairs)


def _fields(machine: Machine, *_: Any) -> dict[Any, Any]:
    """A namespace-like object without its fields, which come later."""
    return {}


def _set(machine: Machine, items: Any = ()) -> set[Any]:
    machine.budget.container(len(_sequence(items)))
    return {key_of(item) for item in _sequence(items)}


def _list(machine: Machine, items: Any = ()) -> list[Any]:
    machine.budget.container(len(_sequence(items)))
    return list(_sequence(items))


def _tuple(machine: Machine, items: Any = ()) -> tuple[Any, ...]:
    return tuple(_list(machine, items))


def _sequence(items: Any) -> Any:
    if not isinstance(items, list | tuple | set):
        raise CheckpointError(f"a container is made of {type(items).__name__}")
    return items


def _reconstruct(machine: Machine, kind: Any, base: Any, content: Any) -> Any:
    """Objects of protocols 0 and 1."""
    made = called(machine, kind, ())
    if isinstance(made, dict) and isinstance(content, dict):
        machine.budget.container(len(content))
        made.update(content)
    return made


# Texts and numbers. --------------------------------------------------------------------------


def _encode(machine: Machine, text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise CheckpointError("bytes are not encoded as latin1")
    machine.budget.own(len(text))
    return text.encode("latin-1")


def _bytes(machine: Machine, content: Any = b"", encoding: Any = "latin1") -> bytes:
    if isinstance(content, str):
        return _encode(machine, content, encoding)
    if not isinstance(content, bytes | bytearray | memoryview):
        raise CheckpointError(f"bytes are made of {type(content).__name__}")
    machine.budget.own(len(content))
    return bytes(content)


def _complex(machine: Machine, real: Any, imaginary: Any) -> complex:
    return complex(float(real), float(imaginary))


# NumPy. --------------------------------------------------------------------------------------


def _dtype(machine: Machine, code: Any, *_: Any) -> DtypeDraft:
    return DtypeDraft(code)


def _array(machine: Machine, *_: Any) -> ArrayDraft:
    return ArrayDraft(machine.budget)


def _number(machine: Machine, dtype: Any, content: Any = b"") -> Any:
    return number_of(dtype, content)


def _from_buffer(machine: Machine, content: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    draft = ArrayDraft(machine.budget)
    draft.build((1, shape, dtype, order == "F", content))
    return draft


# Torch. --------------------------------------------------------------------------------------


def _tensor(machine: Machine, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    return view_of(machine.budget, storage, offset, size, stride)


def _tensor_v3(
    machine: Machine,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    *_: Any,
) -> Any:
    if not isinstance(dtype, torch.dtype):
        raise CheckpointError(f"a tensor's type is {type(dtype).__name__}")
    return view_of(machine.budget, storage, offset, size, stride, dtype)


def _parameter(machine: Machine, data: Any, *_: Any) -> Any:
    return data


def _tensor_subclass(machine: Machine, function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    return called(machine, function, arguments)


def _device(machine: Machine, kind: Any, index: Any = None) -> str:
    name = kind[:40] if isinstance(kind, str) else shown(kind)
    return name if index is None else f"{name}:{shown(index)}"


def _nested_file(machine: Machine, content: Any) -> Any:
    if machine.nested is None:
        raise UnsafeCheckpointError("holds a file inside a file where none is expected")
    if not isinstance(content, bytes | bytearray | memoryview):
        raise CheckpointError(f"a nested file is {type(content).__name__}, not bytes")
    view = content if isinstance(content, memoryview) else memoryview(bytearray(content))
    return machine.nested(view, machine.budget)


def _refused_tensor(machine: Machine, *_: Any) -> Any:
    raise CheckpointError("a tensor is sparse, nested, quantised or without memory")


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _default_dict,
    "collections.Counter": _dict,
    "builtins.dict": _dict,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "builtins.list": _list,
    "builtins.tuple": _tuple,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": _complex,
    "argparse.Namespace": _fields,
    "types.SimpleNamespace": _fields,
    "dnnlib.util.EasyDict": _dict,
    "dnnlib.EasyDict": _dict,
    "easydict.EasyDict": _dict,
    "copyreg._reconstructor": _reconstruct,
    "copy_reg._reconstructor": _reconstruct,
    "_codecs.encode": _encode,
    "numpy.dtype": _dtype,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _tensor_subclass,
    "torch._utils._rebuild_sparse_tensor": _refused_tensor,
    "torch._utils._rebuild_sparse_csr_tensor": _refused_tensor,
    "torch._utils._rebuild_nested_tensor": _refused_tensor,
    "torch._utils._rebuild_qtensor": _refused_tensor,
    "torch._utils._rebuild_meta_tensor_no_storage": _refused_tensor,
    "torch._utils._rebuild_wrapper_subclass": _refused_tensor,
    "torch.Size": _tuple,
    "torch.device": _device,
    "torch.storage._load_from_bytes": _nested_file,
}


def _table() -> Mapping[tuple[str, str], Any]:
    calls = dict(_CALLS)
    for name, function in _CALLS.items():
        if name.startswith("builtins."):
            calls[f"__builtin__.{name.removeprefix('builtins.')}"] = function
    for package in ("numpy.core", "numpy._core"):
        calls[f"{package}.multiarray._reconstruct"] = _array
        calls[f"{package}.multiarray.scalar"] = _number
        calls[f"{package}.numeric._frombuffer"] = _from_buffer
    table: dict[tuple[str, str], Any] = {}
    for full_name, function in calls.items():
        module, _, name = full_name.rpartition(".")
        table[module, name] = function
    table |= {("torch", name): dtype for name, dtype in DTYPES.items()}
    for name, dtype in STORAGES.items():
        table |= {(module, name): StorageType(dtype) for module in ("torch", "torch.storage")}
    return table


KNOWN: Mapping[tuple[str, str], Any] = _table()
"""Everything a pickle may name: functions of ours, number types and storage types."""

"""A pickle machine that makes data and runs nothing.

It follows the instructions of a pickle as Python does, with one difference: a name in the file is
never looked up. It becomes an `Inert` record, or, if it is on the allow-list of `constructors`,
one of our own functions that rebuild tensors, arrays and containers. What the file calls, builds
or sets on an `Inert` is written down in it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Any, cast

import torch

from ni_core.checkpoints.budget import Budget
from ni_core.checkpoints.constructors import KNOWN, refuse_dangerous
from ni_core.checkpoints.inert import Draft, Inert, Known, called, key_of, settled
from ni_core.checkpoints.stack import Stack
from ni_core.checkpoints.stream import ByteStream
from ni_core.errors import CheckpointError, UnsafeCheckpointError

_HIGHEST_PROTOCOL = 5
_LONG_BYTES = 4096
"""Byte strings from this length on stay views of the file."""

_OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}

_LITERAL_NAMES = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
_LITERALS = frozenset(_LITERAL_NAMES.split())
"""Opcodes that push their argument."""

_LONG_LITERALS = {"BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8}
"""Opcodes of long byte strings, and the bytes of their length."""

_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_EMPTY: Mapping[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"FRAME"})

Persistent = Callable[[Any], Any]
Nested = Callable[[memoryview, Budget], Any]


class Unpickler(Stack):
    """Reads one pickle.

    Args:
        stream: Where it starts.
        budget: What the file may ask for.
        persistent: Finds what a persistent id stands for; None refuses them.
        nested: Reads a file inside a byte string; None refuses them.
    """

    def __init__(
        self,
        stream: ByteStream,
        budget: Budget,
        *,
        persistent: Persistent | None = None,
        nested: Nested | None = None,
    ) -> None:
        super().__init__(budget)
        self.nested = nested
        self._stream = stream
        self._persistent = persistent

    def load(self) -> Any:
        """Follow the instructions up to the end of the pickle.

        Raises:
            CheckpointError: It is damaged.
            UnsafeCheckpointError: It asks for too much, or for something dangerous.
        """
        while True:
            self.budget.step()
            code = self._stream.read(1)
            if not code or code[0] not in _OPCODES:
                raise self._damaged("ends too early" if not code else f"has no meaning: {code!r}")
            opcode = _OPCODES[code[0]]
            try:
                if opcode.name == "STOP":
                    return settled(self._pop())
                self._follow(opcode.name, self._argument(opcode))
            except (IndexError, KeyError) as error:
                raise self._damaged(f"{opcode.name} finds nothing to act on") from error

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.name in _LONG_LITERALS:
            length = int.from_bytes(self._stream.view(_LONG_LITERALS[opcode.name]), "little")
            view = self._stream.view(length)
            return bytes(view) if length < _LONG_BYTES else view
        return opcode.arg.reader(cast("IO[bytes]", self._stream)) if opcode.arg else None

    def _follow(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _EMPTY:
            self._push(_EMPTY[name]())
        elif name in _TUPLES:
            self._push(tuple(self._last(_TUPLES[name])))
        elif name in _HANDLERS:
            _HANDLERS[name](self, argument)
        elif name not in _IGNORED:
            raise UnsafeCheckpointError(f"the pickle instruction {name} is refused", value=name)

    def _damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"the pickle is damaged at byte {self._stream.position}: {what}")

    # Names, calls and states. ----------------------------------------------------------------

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._name(module, name)

    def _stack_global(self, _: Any) -> None:
        module, name = self._last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._damaged("a name is no text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        refuse_dangerous(module, name)
        known = KNOWN.get((module, name), Inert(module, name))
        self._push(Known(module, name, function=known) if callable(known) else known)

    def _reduce(self, _: Any) -> None:
        callee, arguments = self._last(2)
        self._call(callee, arguments)

    def _new_object(self, _: Any) -> None:
        self._reduce(None)

    def _new_object_ex(self, _: Any) -> None:
        callee, arguments, keywords = self._last(3)
        if not isinstance(arguments, tuple) or not isinstance(keywords, dict):
            raise self._damaged("the arguments of a call are no tuple and dict")
        self._call(callee, (*arguments, keywords) if keywords else arguments)

    def _object(self, _: Any) -> None:
        callee, *arguments = self._since_mark()
        self._call(callee, tuple(arguments))

    def _instance(self, argument: str) -> None:
        arguments = tuple(self._since_mark())
        self._global(argument)
        self._call(self._pop(), arguments)

    def _call(self, callee: Any, arguments: Any) -> None:
        self.budget.container(len(arguments))
        self._push(called(self, callee, arguments))

    def _build(self, _: Any) -> None:
        (state,) = self._last(1)
        target = self._stack[-1]
        if isinstance(target, Draft):
            target.build(state)
            self._stack[-1] = settled(target)
        elif isinstance(target, Inert):
            target.state = state
        elif isinstance(target, dict):
            for fields in state if isinstance(state, tuple) else (state,):
                self.budget.container(len(fields or ()))
                target.update({key_of(k): v for k, v in (fields or {}).items() if k != "_metadata"})
        elif not isinstance(target, torch.Tensor):
            raise self._damaged(f"it sets the state of {type(target).__name__}")

    # What stands outside the pickle. ---------------------------------------------------------

    def _protocol(self, argument: int) -> None:
        if argument > _HIGHEST_PROTOCOL:
            raise CheckpointError(
                f"pickle protocol {argument} is beyond {_HIGHEST_PROTOCOL}",
                value=argument,
                limit=_HIGHEST_PROTOCOL,
            )

    def _persistent_id(self, argument: Any) -> None:
        identity = self._last(1)[0] if argument is None else argument
        if self._persistent is None:
            raise UnsafeCheckpointError("names an object outside the file (a persistent id)")
        self._push(self._persistent(identity))


_HANDLERS: Mapping[str, Callable[[Unpickler, Any], None]] = {
    "PROTO": Unpickler._protocol,
    "MARK": Unpickler._mark,
    "POP": Unpickler._discard,
    "POP_MARK": Unpickler._pop_mark,
    "DUP": Unpickler._duplicate,
    "PUT": Unpickler._put,
    "BINPUT": Unpickler._put,
    "LONG_BINPUT": Unpickler._put,
    "MEMOIZE": Unpickler._memoize,
    "GET": Unpickler._get,
    "BINGET": Unpickler._get,
    "LONG_BINGET": Unpickler._get,
    "LIST": Unpickler._list,
    "TUPLE": Unpickler._tuple,
    "DICT": Unpickler._dict,
    "FROZENSET": Unpickler._frozenset,
    "APPEND": Unpickler._append,
    "APPENDS": Unpickler._appends,
    "ADDITEMS": Unpickler._add_items,
    "SETITEM": Unpickler._set_item,
    "SETITEMS": Unpickler._set_items,
    "GLOBAL": Unpickler._global,
    "STACK_GLOBAL": Unpickler._stack_global,
    "REDUCE": Unpickler._reduce,
    "NEWOBJ": Unpickler._new_object,
    "NEWOBJ_EX": Unpickler._new_object_ex,
    "OBJ": Unpickler._object,
    "INST": Unpickler._instance,
    "BUILD": Unpickler._build,
    "PERSID": Unpickler._persistent_id,
    "BINPERSID": Unpickler._persistent_id,
}

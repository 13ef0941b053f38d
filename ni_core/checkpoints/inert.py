"""What stands for the objects of a foreign file that are not plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ni_core.errors import CheckpointError

_MAX_KEY = 1 << 60


@dataclass(eq=False, repr=False)
class Inert:
    """A class, function or object that a file names. It is a record: nothing is ever run.

    Attributes:
        module: Module the file names.
        name: Name in that module; `call` with an empty module is a call of another `Inert`, which
            is then the first of `args`.
        args: Arguments it was made with; None for the class or function itself.
        state: What the file says to set on it, if anything.
        items: What the file says to append to it; pairs where it is filled like a dict.
    """

    module: str
    name: str
    args: tuple[Any, ...] | None = None
    state: Any = None
    items: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        # Never what is inside: a small file can describe a text of any length.
        return f"Inert({self.module}.{self.name})"

    def is_a(self, module: str, name: str) -> bool:
        """Tell whether this stands for that class or function, or for an object it made."""
        return (self.module, self.name) == (module, name)


@dataclass(eq=False, repr=False)
class Known(Inert):
    """A name on the allow-list: calling it runs one of our own functions.

    Attributes:
        function: What a call does; it checks all its arguments.
    """

    function: Callable[..., Any] = tuple


class Draft:
    """An object that a file makes in two steps.

    Attributes:
        value: The finished object, or None until there is one.
    """

    value: Any = None

    def build(self, state: Any) -> None:
        """Finish the object from the state the file gives."""
        raise NotImplementedError


def settled(item: Any) -> Any:
    """The finished object in place of its draft."""
    return item.value if isinstance(item, Draft) and item.value is not None else item


def called(machine: Any, callee: Any, arguments: Any) -> Any:
    """What a call in a file makes: the result of one of our functions, or a record of the call.

    Args:
        machine: The machine that reads the file, for our functions.
        callee: What the file calls.
        arguments: Tuple of arguments.

    Raises:
        CheckpointError: What is called is no function, or the arguments are no tuple.
    """
    if not isinstance(arguments, tuple):
        raise CheckpointError(f"the arguments of a call are {type(arguments).__name__}")
    if isinstance(callee, Known):
        return callee.function(machine, *arguments)
    if not isinstance(callee, Inert):
        raise CheckpointError(f"the pickle calls {type(callee).__name__}")
    if callee.args is None:
        return Inert(callee.module, callee.name, arguments)
    return Inert("", "call", (callee, *arguments))


def key_of(item: Any) -> Any:
    """Check that something may be a key: nothing whose hash takes long or can be chosen.

    Raises:
        CheckpointError: It is not a number, a text, a flat tuple of them, or an inert object.
    """
    if isinstance(item, tuple) and all(_is_simple(part) for part in item):
        return item
    if _is_simple(item) or isinstance(item, Inert | torch.Tensor):
        return item
    raise CheckpointError(f"the key of a dict or set is {type(item).__name__}")


def _is_simple(item: Any) -> bool:
    if isinstance(item, int):
        return -_MAX_KEY < item < _MAX_KEY
    return item is None or isinstance(item, str | bytes | float | torch.dtype)


def shown(value: Any) -> str:
    """A value in an error message: short, and never the inside of a container."""
    if isinstance(value, str | bytes):
        return repr(value[:40])
    return str(value)[:60] if isinstance(value, int | float) else type(value).__name__

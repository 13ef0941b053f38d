"""Stack, memo and containers of the pickle machine."""

from __future__ import annotations

from typing import Any

from ni_core.checkpoints.budget import Budget
from ni_core.checkpoints.inert import Inert, key_of, settled
from ni_core.errors import CheckpointError


class Stack:
    """Where a pickle puts its objects together; damaged ones raise IndexError or KeyError."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def _push(self, container: Any, copied: int = 0) -> None:
        self.budget.container(copied)
        self._stack.append(container)

    def _pop(self) -> Any:
        return self._stack.pop()

    def _last(self, n: int) -> list[Any]:
        if len(self._stack) < n:
            raise IndexError(n)
        items = [settled(item) for item in self._stack[-n:]]
        del self._stack[-n:]
        return items

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = [settled(item) for item in self._stack[start:]]
        del self._stack[start:]
        return items

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _discard(self, _: Any) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    # The memo. -------------------------------------------------------------------------------

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(settled(self._memo[index]))

    # Containers. -----------------------------------------------------------------------------

    def _list(self, _: Any) -> None:
        self._push(self._since_mark())

    def _tuple(self, _: Any) -> None:
        self._push(tuple(self._since_mark()))

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self._push({})
        self._fill(items)

    def _frozenset(self, _: Any) -> None:
        items = self._since_mark()
        self._push({key_of(item) for item in items})

    def _append(self, _: Any) -> None:
        self._extend(self._last(1))

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = settled(self._stack[-1])
        if isinstance(target, Inert):
            target = target.items
        if not isinstance(target, list):
            raise CheckpointError(f"the pickle appends to {type(target).__name__}")
        target.extend(items)

    def _add_items(self, _: Any) -> None:
        items = self._since_mark()
        if not isinstance(self._stack[-1], set):
            raise CheckpointError(f"the pickle adds elements to {type(self._stack[-1]).__name__}")
        self._stack[-1].update(key_of(item) for item in items)

    def _set_item(self, _: Any) -> None:
        self._fill(self._last(2))

    def _set_items(self, _: Any) -> None:
        self._fill(self._since_mark())

    def _fill(self, items: list[Any]) -> None:
        pairs = list(zip(items[::2], items[1::2], strict=True))
        target = settled(self._stack[-1])
        if isinstance(target, dict):
            target.update((key_of(key), value) for key, value in pairs)
        elif isinstance(target, Inert):
            target.items.extend(pairs)
        else:
            raise CheckpointError(f"the pickle sets elements of {type(target).__name__}")

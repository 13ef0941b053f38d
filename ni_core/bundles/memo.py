"""Memo: a few results computed once and dropped with their owner."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """The most recently used results by key; thread-safe, each computed once."""

    def __init__(self, entries: int = 64) -> None:
        """Make an empty memo that keeps up to `entries` results."""
        self._entries = entries
        self._lock = threading.RLock()
        self._results: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the result kept under `key`, computing it if there is none."""
        with self._lock:
            if key not in self._results:
                self._results[key] = compute()
                while len(self._results) > self._entries:
                    self._results.popitem(last=False)
            self._results.move_to_end(key)
            result: T = self._results[key]
            return result

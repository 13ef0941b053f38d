"""Networks without memory for their weights, and configurations from JSON: what families share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_KEPT = frozenset({Tensor.mul, Tensor.__mul__, Tensor.div, Tensor.__truediv__, Tensor.sub})
"""With a number, these give a tensor of the same shape; those of `torch.nn.init` always do."""


class _NoNumbers(TorchFunctionMode):
    """Leaves out what only fills tensors with numbers.

    On tensors without memory these functions do nothing but take shapes, and the first of them
    costs a process about two seconds of imports.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func is torch.randn:
            return torch.empty(*args, **named)
        first = args[0] if args else named.get("tensor")
        if isinstance(first, Tensor) and first.is_meta and _keeps_shape(func):
            return first
        return func(*args, **named)


def _keeps_shape(func: Callable[..., Any]) -> bool:
    return func in _KEPT or getattr(func, "__module__", "") == nn.init.__name__


@contextmanager
def unfilled() -> Iterator[None]:
    """Networks made in here have shapes but no memory: to compare them, or to be filled."""
    with torch.device("meta"), _NoNumbers():
        yield


def fields_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration from JSON: lists become tuples, all the way down."""
    return {key: _frozen(value) for key, value in document.items()}


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value

"""How much memory the values of a running program may take: a short program can ask for any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from ni_core.errors import BrokenBundleError

_LIMIT_BYTES = 4 << 30
"""For each picture of a batch, all values together; a StyleGAN2 of 1024 px takes about 1 GiB."""

_UNSEEN_BYTES = 256 << 20
"""So much may be made before the values are counted again."""


class LiveMemory:
    """Counts what the values of one run take.

    Args:
        latents: What the program runs on; the limit grows with the batch.
        weights: The program's weights, which do not count.
    """

    def __init__(self, latents: Tensor, weights: Sequence[Tensor]) -> None:
        self._limit = _LIMIT_BYTES * max(len(latents), 1) + _held_bytes(weights)
        self._unseen = 0

    def check(self, made: Any, values: Iterable[Any]) -> None:
        """Count what a step made, and all values now and then.

        Args:
            made: The step's result, or results.
            values: All that later steps can use.

        Raises:
            BrokenBundleError: They take too much.
        """
        self._unseen += _held_bytes(made if isinstance(made, list | tuple) else [made])
        if self._unseen < _UNSEEN_BYTES:
            return
        self._unseen = 0
        held = _held_bytes(values)
        if held > self._limit:
            raise BrokenBundleError(
                f"the values of the program take {held:,} bytes, more than {self._limit:,}",
                value=held,
                limit=self._limit,
            )


def _held_bytes(values: Iterable[Any]) -> int:
    """Bytes behind all tensors; views of the same memory count once."""
    storages = (value.untyped_storage() for value in values if isinstance(value, Tensor))
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

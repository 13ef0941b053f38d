"""Direction: a unit vector in W, the rows it applies to, and how far it may be followed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

from ni_core.errors import UnknownDirectionError
from ni_core.layers import format_layers

_ID = re.compile(r"(?P<method>[a-z0-9_]{1,32})\.(?P<layers>[0-9,-]{1,100})\.(?P<index>\d{1,5})")


@dataclass(frozen=True, eq=False)
class Direction:
    """One semantic direction of one generator.

    Attributes:
        index: Rank among the directions of the same method and layers, from 0.
        method: The method that found it.
        layers: Rows of W+ it was found in and is applied to, ascending.
        vector: `[w_dim]`, length 1, float32, on the CPU.
        eigenvalue: How strongly the method rates it; falls with the index.
        range: Weights from `range[0]` to `range[1]` keep the latent where the generator works.
        generator: Fingerprint of the generator.
        name: What it does, where that is known.
    """

    index: int
    method: str
    layers: tuple[int, ...]
    vector: Tensor
    eigenvalue: float
    range: tuple[float, float]
    generator: str
    name: str | None = None

    @property
    def id(self) -> str:
        """`method.layers.index`, as in `sefa.0-5.3`: enough to find it again in any process."""
        return f"{self.method}.{format_layers(self.layers)}.{self.index}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Direction):
            return NotImplemented
        return (self.id, self.generator) == (other.id, other.generator)

    def __hash__(self) -> int:
        return hash((self.id, self.generator))


def parse_direction_id(text: str) -> tuple[str, str, int]:
    """Split a direction's id into method, layers text and index.

    Raises:
        UnknownDirectionError: It is not of the form `method.layers.index`.
    """
    match = _ID.fullmatch(text)
    if match is None:
        raise UnknownDirectionError(
            f"direction {text[:80]!r} is not of the form method.layers.index, as in sefa.0-5.3",
            value=text[:80],
        )
    return match["method"], match["layers"], int(match["index"])

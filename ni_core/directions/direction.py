"""Direction: a unit vector in W or Z, the rows it applies to, and how far it may be followed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ni_core.errors import UnknownDirectionError
from ni_core.layers import format_layers

NO_LAYERS = "z"
"""Stands in an id where a generator has no rows of W+."""

_ID = re.compile(r"(?P<method>[a-z0-9_]{1,32})\.(?P<layers>z|[0-9,-]{1,100})\.(?P<index>\d{1,5})")


@dataclass(frozen=True, eq=False)
class Direction:
    """One semantic direction of one generator.

    Attributes:
        index: Rank among the directions of the same method and layers, from 0.
        method: The method that found it.
        layers: Rows of W+ it is applied to, ascending; none for a generator with only z.
        vector: `[d]`, length 1; or `[num_layers, d]`, a vector for each row, the longest of
            length 1. Float32, on the CPU.
        eigenvalue: How strongly the method rates it; None where it does not.
        range: Weights from `range[0]` to `range[1]` keep the latent where the generator works.
        generator: Fingerprint of the generator.
        name: What it does, where that is known.
        space: `w`, where it is added to rows of W+, or `z`, where it is added before the mapping.
        source: Where it came from, if it came with the model.
    """

    index: int
    method: str
    layers: tuple[int, ...]
    vector: Tensor
    eigenvalue: float | None
    range: tuple[float, float]
    generator: str
    name: str | None = None
    space: Literal["z", "w"] = "w"
    source: str | None = None

    @property
    def id(self) -> str:
        """`method.layers.index`, as in `sefa.0-5.3`: enough to find it again in any process."""
        layers = format_layers(self.layers) if self.layers else NO_LAYERS
        return f"{self.method}.{layers}.{self.index}"

    def rows(self, layers: Sequence[int]) -> Tensor:
        """Vectors of these rows of W+: `[len(layers), d]`, or `[d]` where all are the same."""
        return self.vector if self.vector.dim() == 1 else self.vector[list(layers)]

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
    layers = "all" if match["layers"] == NO_LAYERS else match["layers"]
    return match["method"], layers, int(match["index"])

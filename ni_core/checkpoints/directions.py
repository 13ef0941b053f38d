"""Files of directions: read by content, brought to one convention, packed for a bundle.

Units: a vector has length 1, and one with a row for each row of W+ is scaled as a whole until its
longest row has length 1. A weight then is the distance that the latent moves, in the row that moves
farthest, whatever file the direction came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from ni_core.bundles.manifest import DirectionEntry
from ni_core.checkpoints.direction_formats import FORMATS, Found
from ni_core.checkpoints.document import Document, open_document
from ni_core.errors import CheckpointError, GeneratorMismatchError
from ni_core.generators.base import GeneratorConfig

_UNIT_TOLERANCE = 1e-3
"""Relative deviation of a length from 1 that is taken for rounding."""

_MAX_NAME = 64


@dataclass(frozen=True)
class ImportedDirection:
    """One direction of a foreign file, in our own terms.

    Attributes:
        name: What it does as far as the file says, else its rank in the file or the file's name.
        vector: `[d]` of length 1, or `[rows, d]` whose longest row has length 1; float32.
        space: `z` or `w`; a direction in W is added to rows of W+.
        layers: Rows it is meant for; None is all.
        deviation: Standard deviation of the latents along it, in units of weight, if known.
        source: Format and file it came from.
    """

    name: str
    vector: Tensor
    space: Literal["z", "w"]
    layers: tuple[int, ...] | None
    deviation: float | None
    source: str


def read_directions(path: Path, *, space: Literal["z", "w"] = "w") -> list[ImportedDirection]:
    """Read all directions of a file, in its order.

    Args:
        path: The file; its format is recognised from the content, never from the name.
        space: The space of the vectors where the format does not tell it.

    Returns:
        One or more directions.

    Raises:
        CheckpointError: The file cannot be read, has no known format, or holds no directions.
        UnsafeCheckpointError: Reading it would run code or take unbounded memory.
    """
    document = open_document(path)
    for form in FORMATS:
        if form.matches(document):
            return _finished(document, form.name, form.read(document), space)
    known = "; ".join(f"{form.name}: {form.meaning}" for form in FORMATS)
    raise CheckpointError(
        f"{path.name} holds directions of no known format: {document.summary()}. Known are {known}",
        value=path.name,
        limit=[form.name for form in FORMATS],
    )


def fit_directions(
    directions: Sequence[ImportedDirection], generator: GeneratorConfig
) -> list[ImportedDirection]:
    """Return directions that all fit a generator.

    A direction with a vector for each row must have as many rows as the generator: rows of another
    resolution belong to another network, so none are cut off or made up.

    Args:
        directions: What was read.
        generator: The generator's configuration, or the generator.

    Raises:
        GeneratorMismatchError: One does not fit; both numbers are named.
    """
    for direction in directions:
        name = f"direction {direction.name!r}"
        dimensions = generator.z_dim if direction.space == "z" else generator.w_dim
        found = direction.vector.shape[-1]
        if not dimensions:
            other = "z" if direction.space == "w" else "w"
            raise _mismatch(
                f"{name} is in {direction.space}, and the generator has no {direction.space}; if "
                f"it is in {other}, name that space",
                found,
            )
        if found != dimensions:
            raise _mismatch(
                f"{name} has {found} dimensions, {direction.space} of the generator has "
                f"{dimensions}",
                found,
                dimensions,
            )
        rows = direction.vector.shape[0] if direction.vector.dim() == 2 else generator.num_layers
        rows = max(rows, *(row + 1 for row in direction.layers or ()), 0)
        if rows != generator.num_layers:
            raise _mismatch(
                f"{name} has {rows} rows, W+ of the generator has {generator.num_layers}",
                rows,
                generator.num_layers,
            )
    return list(directions)


def pack_directions(
    directions: Sequence[ImportedDirection],
) -> tuple[dict[str, Tensor], tuple[DirectionEntry, ...]]:
    """Lay directions out for a bundle.

    Args:
        directions: In the order in which the bundle will list them.

    Returns:
        The tensors of the directions' file, and what the manifest says of each.
    """
    keys = [f"direction.{index:04d}" for index in range(len(directions))]
    tensors = {
        key: direction.vector.contiguous().clone()
        for key, direction in zip(keys, directions, strict=True)
    }
    entries = tuple(
        DirectionEntry(
            name=direction.name,
            key=key,
            space=direction.space,
            layers=direction.layers,
            deviation=direction.deviation,
            source=direction.source,
        )
        for key, direction in zip(keys, directions, strict=True)
    )
    return tensors, entries


def _finished(
    document: Document, form: str, found: Found, space: Literal["z", "w"]
) -> list[ImportedDirection]:
    vectors = found.vectors
    lengths = vectors.norm(dim=-1)
    longest = lengths if lengths.dim() == 1 else lengths.amax(dim=1)
    if not bool(longest.isfinite().all()) or not bool((longest > 0).all()):
        raise CheckpointError(
            f"{document.path.name}: a direction is zero or not finite", value=document.path.name
        )
    scale = longest.reshape(-1, *[1] * (vectors.dim() - 1))
    own_name = document.path.stem.replace("_", " ")
    return [
        ImportedDirection(
            name=_name(found, index, own_name),
            vector=vector,
            space=found.space or space,
            layers=found.layers,
            deviation=_deviation(found, index, length),
            source=_source(document, form, length),
        )
        for index, (vector, length) in enumerate(
            zip((vectors / scale).float(), longest.tolist(), strict=True)
        )
    ]


def _name(found: Found, index: int, own_name: str) -> str:
    if found.names:
        return found.names[index][:_MAX_NAME]
    if len(found.vectors) == 1:
        return own_name[:_MAX_NAME]
    return f"{found.rank} {index}"


def _deviation(found: Found, index: int, length: float) -> float | None:
    return None if found.deviations is None else float(found.deviations[index]) * length


def _source(document: Document, form: str, length: float) -> str:
    source = f"{form}: {document.path.name}"
    return source if abs(length - 1) < _UNIT_TOLERANCE else f"{source}, of length {length:.4g}"


def _mismatch(message: str, value: int, limit: int | None = None) -> GeneratorMismatchError:
    return GeneratorMismatchError(message, value=value, limit=limit)

"""Formats of directions files: which files they are, and what their numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ni_core.checkpoints.document import Document
from ni_core.errors import CheckpointError

_UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Found:
    """What a file says of its directions.

    Attributes:
        vectors: `[n, d]`, or `[n, rows, d]` with one vector for each row of W+; float64.
        rank: What a direction is called before its number, where they have no names.
        names: Their names, if the file has them.
        space: Their space, if the content tells it.
        layers: Rows they are meant for, if the file says so.
        deviations: `[n]`, how far latents spread along them, if the file says so.
    """

    vectors: Tensor
    rank: str = "direction"
    names: tuple[str, ...] = ()
    space: Literal["z", "w"] | None = None
    layers: tuple[int, ...] | None = None
    deviations: Tensor | None = None


@dataclass(frozen=True)
class DirectionFormat:
    """One format of directions files.

    Attributes:
        name: Its name, as users and manifests see it.
        meaning: Which files these are.
        matches: Tells from the content alone whether a document has this format.
        read: Takes the directions out.
    """

    name: str
    meaning: str
    matches: Callable[[Document], bool]
    read: Callable[[Document], Found]


def _read_ganspace(document: Document) -> Found:
    """GANSpace: components of activations, and where the latents lie along them.

    In Z the latents' components come from a regression and their deviations are all 1; in W they
    are measured. Which of both a file is, is nowhere else written in it.
    """
    deviations = _array(document, "lat_stdev").flatten()
    return Found(
        vectors=_vectors(document, "lat_comp"),
        rank="component",
        space="z" if bool((deviations == 1).all()) else "w",
        deviations=_one_each(document, "lat_stdev", "lat_comp"),
    )


def _read_pca(document: Document) -> Found:
    """Principal components of W, as the editing scripts of e4e and PTI keep them."""
    return Found(
        vectors=_vectors(document, "comp"),
        rank="pca",
        space="w",
        deviations=_one_each(document, "std", "comp"),
    )


def _read_closed_form(document: Document) -> Found:
    """Factors of rosinality's closed form: the columns, the strongest first."""
    columns = _array(document, "eigvec")
    if columns.dim() != 2:
        raise _unusable(document, "eigvec", f"has shape {list(columns.shape)}, not [d, n]")
    return Found(vectors=columns.T, rank="factor", space="w")


def _read_boundary(document: Document) -> Found:
    """A boundary of idinvert: one vector for each row of W+, and the rows it is meant for."""
    notes = document.root.get("meta_data") or {}
    rows = notes.get("manipulate_layers") if isinstance(notes, Mapping) else None
    layers = None if rows is None else tuple(sorted({int(row) for row in rows}))
    return Found(vectors=_vectors(document, "boundary"), space="w", layers=layers)


def _read_named(document: Document) -> Found:
    """Vectors by name: one tensor for each direction."""
    vectors = [_vectors(document, key) for key in document.root]
    if any(vector.shape != vectors[0].shape or len(vector) != 1 for vector in vectors):
        shapes = ", ".join(f"{key} {list(document.root[key].shape)}" for key in document.root)
        raise CheckpointError(
            f"{document.path.name}: named directions must be one vector each, of one shape: "
            f"{shapes[:300]}",
            value=document.path.name,
        )
    return Found(vectors=torch.cat(vectors), names=tuple(map(str, document.root)))


def _read_bare(document: Document) -> Found:
    """A bare array: InterFaceGAN's boundaries and what others keep in the same way.

    Arrays of several vectors are directions only if these have length 1: latent codes come in the
    same shapes. A single vector may have any length.
    """
    vectors = _vectors(document, None)
    lengths = vectors.norm(dim=-1)
    if len(vectors) > 1 and bool(((lengths - 1).abs() > _UNIT_TOLERANCE).any()):
        raise CheckpointError(
            f"{document.path.name} holds {len(vectors)} vectors of lengths "
            f"{float(lengths.min()):.4g} to {float(lengths.max()):.4g}: directions have length 1, "
            "these seem to be latent codes",
            value=document.path.name,
            limit=1,
        )
    return Found(vectors=vectors)


FORMATS: tuple[DirectionFormat, ...] = (
    DirectionFormat(
        "ganspace",
        "components of GANSpace, .npz",
        lambda document: _has(document, "lat_comp", "lat_stdev"),
        _read_ganspace,
    ),
    DirectionFormat(
        "pca",
        "principal components with keys comp, mean and std, as e4e and PTI keep them",
        lambda document: _has(document, "comp", "std"),
        _read_pca,
    ),
    DirectionFormat(
        "closed form",
        "factors of rosinality's closed form, with the key eigvec",
        lambda document: _has(document, "eigvec"),
        _read_closed_form,
    ),
    DirectionFormat(
        "idinvert",
        "a boundary of idinvert, with the keys boundary and meta_data",
        lambda document: _has(document, "boundary"),
        _read_boundary,
    ),
    DirectionFormat(
        "vector",
        "a bare array [d], [n, d] or [n, rows, d], as InterFaceGAN, e4e and PTI keep it",
        lambda document: _is_numbers(document.root),
        _read_bare,
    ),
    DirectionFormat(
        "vectors by name",
        "a vector [d], [1, d] or [1, rows, d] under each direction's name",
        lambda document: (
            isinstance(document.root, Mapping)
            and len(document.root) > 0
            and all(_is_vector(value) for value in document.root.values())
        ),
        _read_named,
    ),
)
"""All formats; the first one that matches reads the file."""


def _has(document: Document, *keys: str) -> bool:
    return isinstance(document.root, Mapping) and all(key in document.root for key in keys)


def _is_numbers(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point()
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _is_vector(value: Any) -> bool:
    return _is_numbers(value) and 1 <= value.ndim <= 3 and value.size != 0


def _array(document: Document, key: str | None) -> Tensor:
    """Numbers of a file, or of one of its keys, in float64."""
    value = document.root if key is None else document.root[key]
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = np.asarray(value)
    if not _is_numbers(value):
        raise _unusable(document, key, f"is {type(value).__name__}, not real numbers")
    tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, np.float64))
    return tensor.detach().double()


def _vectors(document: Document, key: str | None) -> Tensor:
    """Vectors `[n, d]` or `[n, rows, d]` of a file, or of one of its keys."""
    array = _array(document, key)
    if array.dim() == 1:
        array = array[None]
    if array.dim() == 3 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dim() not in (2, 3) or not array.numel():
        shape = list(array.shape)
        raise _unusable(document, key, f"has shape {shape}, not [d], [n, d] or [n, rows, d]")
    return array


def _one_each(document: Document, key: str, of: str) -> Tensor:
    """One positive number for each vector."""
    numbers, count = _array(document, key).flatten(), len(_vectors(document, of))
    if len(numbers) != count:
        raise _unusable(document, key, f"has {len(numbers)} numbers for {count} vectors of {of}")
    if not bool((numbers.isfinite() & (numbers > 0)).all()):
        raise _unusable(document, key, "holds a number that is not positive")
    return numbers


def _unusable(document: Document, key: str | None, why: str) -> CheckpointError:
    where = document.path.name if key is None else f"{key} of {document.path.name}"
    return CheckpointError(f"{where} {why}", value=where)

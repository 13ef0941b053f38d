"""Generators of in-domain inversion, idinvert (arXiv:2004.00049): a w for every row, a tanh."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.document import Document
from ni_core.checkpoints.genforce import unwrap
from ni_core.checkpoints.genforce_stylegan1 import LOD, Naming, genforce_stylegan1
from ni_core.checkpoints.growth import Growth, growth
from ni_core.checkpoints.state_dicts import count, size
from ni_core.errors import CheckpointError

_TRUNCATION = "truncation.truncation"

_STYLE = "synthesis.layer{}.epilogue.style_mod.dense"

_NAMING = Naming(
    dense=("mapping.dense{}.fc.weight", "mapping.dense{}.wscale.bias"),
    epilogue="synthesis.layer{}.epilogue.",
    style=(f"{_STYLE}.fc.weight", f"{_STYLE}.wscale.bias"),
    weight="synthesis.layer{}.conv.weight",
    fused="synthesis.layer{}.weight",
    rgb="synthesis.output{}.conv.weight",
)


def _matches(document: Document) -> bool:
    marks = {_NAMING.style[0].format(0), "synthesis.layer0.const"}
    return marks <= (unwrap(document) or {}).keys()


def _read(document: Document) -> GeneratorCheckpoint:
    tensors = unwrap(document) or {}
    last = _NAMING.dense[0].format(count(tensors, _NAMING.dense[0]) - 1)
    rows = size(tensors, last, 0) != size(tensors, _NAMING.style[0].format(0), 1)
    return genforce_stylegan1(
        tensors,
        _NAMING,
        _growth(tensors),
        format=READERS[0].format,
        tanh=rows,
        ignored=(_TRUNCATION,),
        notes=_notes(tensors, rows=rows),
    )


READERS = (
    Reader(
        "idinvert-generator",
        "idinvert's generators: mapping.dense*.fc.*, synthesis.layer*.epilogue.*",
        _matches,
        _read,
    ),
)


def _growth(tensors: Mapping[str, Tensor]) -> Growth:
    """All resolutions are in use.

    Raises:
        CheckpointError: The level of detail says otherwise.
    """
    blocks = count(tensors, _NAMING.rgb)
    if growth(tensors, LOD, blocks) != Growth(blocks, blocks):
        level = float(tensors[LOD])
        raise CheckpointError(
            f"level of detail {level} is not 0: only networks that are fully grown are read",
            value=level,
            limit=0,
        )
    return Growth(blocks, blocks)


def _notes(tensors: Mapping[str, Tensor], *, rows: bool) -> tuple[str, ...]:
    notes = [] if rows else ["one w for all rows: taken for a network without a final tanh"]
    if _TRUNCATION in tensors:
        psi = [round(value, 3) for value in tensors[_TRUNCATION].flatten().tolist()]
        notes.append(f"the file's own truncation, psi by row {psi}, is not applied")
    return tuple(notes)

"""Programs of torch.export (`.pt2`): graph and weights taken apart, and run by our own code.

What the file does not say stands in a JSON file, given or beside it as `<file>.json`:

    {"space": "z", "range": "signed", "prior": "normal", "resolution": 64}

`space` is z, w or w+; `range` is `signed` for [-1, 1] or `unit` for [0, 1]; `prior` and
`resolution` may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ni_core.checkpoints.archive import Archive
from ni_core.checkpoints.budget import Budget
from ni_core.checkpoints.checkpoint import GeneratorCheckpoint, Reader
from ni_core.checkpoints.document import Document, errors_of
from ni_core.checkpoints.layout import description_of
from ni_core.checkpoints.stream import map_file
from ni_core.checkpoints.tensors import Storage, raw_bytes, view_of
from ni_core.errors import BrokenBundleError, CheckpointError
from ni_core.generators.exported import ExportedConfig
from ni_core.generators.program import DTYPES, Program, read_program

_FIELDS = frozenset({"space", "range", "prior", "resolution"})
_NEEDED = frozenset({"space", "range"})
_MAX_JSON_BYTES = 64 << 20
_GRAPH = ("models/", ".json")
_WEIGHTS = ("data/weights/", "data/constants/")


def read_exported(document: Document) -> GeneratorCheckpoint:
    """Read a generator.

    Args:
        document: The file, with its description if there is none beside it.

    Raises:
        CheckpointError: The program or its description cannot be read, or asks for operators,
            inputs or number types that are not run.
    """
    description = _description(document)
    with errors_of(document.path):
        view = map_file(document.path)
        budget = Budget(len(view))
        file = _open(Archive(document.path, view, budget), budget)
        graph = file.json(*_graph_name(file))["graph_module"]
        slim = json.dumps(_slim(graph)).encode()
        try:
            program = read_program(slim)
            tensors = [_weight(file, name) for _, name in program.weight_keys]
            config = _config(graph, program, description, len(slim), tensors)
        except BrokenBundleError as error:
            raise CheckpointError(f"is not served: {error}", **error.details) from error
    made = {f"weight_{index}": tensor for index, tensor in enumerate(tensors)}
    made["program"] = torch.frombuffer(bytearray(slim), dtype=torch.uint8)
    return GeneratorCheckpoint("exported", config, made, READERS[0].format)


READERS = (
    Reader(
        "torch-export",
        "programs saved with torch.export, with a JSON file that tells space and range",
        lambda document: document.kind == "pt2",
        generator=read_exported,
        takes_layout=True,
    ),
)


@dataclass
class _File:
    """A `.pt2` file: a zip file with everything in one folder."""

    archive: Archive
    budget: Budget
    folder: str
    weights: dict[str, tuple[str, Mapping[str, Any]]]

    def json(self, name: str) -> Any:
        """An entry as JSON."""
        view = self.archive.view(f"{self.folder}{name}")
        if len(view) > _MAX_JSON_BYTES:
            raise CheckpointError(f"its entry {name[:80]} is longer than {_MAX_JSON_BYTES} bytes")
        return json.loads(bytes(view))


def _open(archive: Archive, budget: Budget) -> _File:
    marks = [name for name in archive.names if name.endswith("/archive_format")]
    if len(marks) != 1:
        raise CheckpointError("is a program of torch 2.7 or older; export it again")
    file = _File(archive, budget, marks[0].removesuffix("archive_format"), {})
    for place in _WEIGHTS:
        for name in _names(file, place, "_config.json"):
            for key, entry in file.json(name)["config"].items():
                file.weights[key] = (place, entry)
    if _names(file, "data/aotinductor/", ""):
        raise CheckpointError("holds compiled code; export it without compiling")
    return file


def _names(file: _File, start: str, end: str) -> list[str]:
    names = (name.removeprefix(file.folder) for name in file.archive.names)
    return [name for name in names if name.startswith(start) and name.endswith(end)]


def _graph_name(file: _File) -> list[str]:
    names = _names(file, *_GRAPH)
    if len(names) != 1:
        raise CheckpointError(f"holds {len(names)} programs, not one", value=len(names), limit=1)
    return names


def _slim(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The graph without what is not needed to run it: traces, guards and symbolic sizes."""
    fields = ("target", "inputs", "outputs")
    nodes = [{key: node[key] for key in fields} for node in graph["graph"]["nodes"]]
    specs = {key: graph["signature"][key] for key in ("input_specs", "output_specs")}
    return {"graph": {"nodes": nodes}, "signature": specs}


def _weight(file: _File, name: str) -> Tensor:
    if name not in file.weights:
        raise CheckpointError(f"lacks the weight {name[:80]}", value=name[:80])
    place, entry = file.weights[name]
    meta = entry["tensor_meta"]
    if entry["use_pickle"] or meta is None:
        raise CheckpointError(f"its weight {name[:80]} is pickled, not plain numbers")
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None or (dtype.is_floating_point and dtype != torch.float32):
        raise CheckpointError(
            f"its weight {name[:80]} is of the type {dtype}; export the generator in float32"
        )
    raw = raw_bytes(
        file.budget, file.archive.view(f"{file.folder}{place}{entry['path_name']}"), dtype.itemsize
    )
    size, stride = ([one["as_int"] for one in meta[key]] for key in ("sizes", "strides"))
    offset = meta["storage_offset"]["as_int"]
    return view_of(file.budget, Storage(raw, dtype), offset, size, stride).clone(
        memory_format=torch.contiguous_format
    )


def _description(document: Document) -> dict[str, Any]:
    found = description_of(document)
    if found is None:
        raise CheckpointError(
            f"{document.path.name} is a program of torch.export; a JSON file must tell its space "
            'and range, as in {"space": "z", "range": "signed"}: give one, or put it beside it as '
            f"{document.path.name}.json"
        )
    if not _NEEDED <= found.keys() <= _FIELDS:
        raise CheckpointError(
            f"the description of {document.path.name} has the fields {', '.join(sorted(found))}; "
            "space and range are needed, prior and resolution are possible",
            limit=sorted(_FIELDS),
        )
    return dict(found)


def _config(
    graph: Mapping[str, Any],
    program: Program,
    description: Mapping[str, Any],
    program_bytes: int,
    tensors: list[Tensor],
) -> ExportedConfig:
    values = graph["graph"]["tensor_values"]
    batch, shape = _sides(values[program.input], "input")
    _, image = _sides(values[program.output], "image")
    if len(image) != 3 or image[0] not in (1, 3) or image[1] != image[2]:
        raise CheckpointError(
            f"makes {list(image)}, not a square image of 1 or 3 channels", value=list(image)
        )
    if description.get("resolution", image[1]) != image[1]:
        raise CheckpointError(
            f"makes images of {image[1]} px, not {description['resolution']}", value=image[1]
        )
    return ExportedConfig(
        image[1],
        description["space"],
        shape,
        batch,
        program_bytes,
        tuple(tuple(tensor.shape) for tensor in tensors),
        range=description["range"],
        prior=description.get("prior", "normal"),
    )


def _sides(value: Mapping[str, Any], what: str) -> tuple[int | None, tuple[int, ...]]:
    """Batch size, None for any, and the other sides, which must be known."""
    batch, *rest = value["sizes"]
    if not all(isinstance(side.get("as_int"), int) for side in rest):
        raise CheckpointError(
            f"is of unknown size: the {what} may have any batch size, but no other open side; "
            "export it with a dynamic batch at most"
        )
    return batch.get("as_int"), tuple(side["as_int"] for side in rest)

"""Reference cases of foreign formats: inputs and outputs of the systems that wrote the files."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import READERS
from ni_core.checkpoints.document import Document

OPEN = Path(__file__).parents[4] / "shared" / "fixtures" / "open"
ABSENT = pytest.mark.skipif(not OPEN.is_dir(), reason="the reference cases are not on this machine")


@dataclass(frozen=True)
class Case:
    """One reference case: `meta.json`, `io.npz` and a checkpoint or the recipe that fills it."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @cached_property
    def meta(self) -> Mapping[str, Any]:
        document: Mapping[str, Any] = json.loads((self.folder / "meta.json").read_text())
        return document

    @cached_property
    def io(self) -> Mapping[str, Tensor]:
        """Inputs and outputs."""
        with np.load(self.folder / "io.npz") as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    def tensors(self, manifest: str = "manifest.json") -> dict[str, Tensor]:
        """The checkpoint's tensors, by the recipe of its manifest."""
        document = json.loads((self.folder / manifest).read_text())
        entries = document["tensors"]
        items = entries.items() if isinstance(entries, dict) else ((e["key"], e) for e in entries)
        return {key: self._fill(key, entry, document["fill_seed"]) for key, entry in items}

    def _fill(self, key: str, entry: Mapping[str, Any], fill_seed: int) -> Tensor:
        shape = tuple(entry["shape"])
        if entry["kind"] == "npz":
            return self.io[entry["value"].removeprefix("io.npz ")].reshape(shape)
        if entry["kind"] == "const":
            return torch.from_numpy(np.full(shape, entry["value"], entry.get("dtype", "float32")))
        source = np.random.RandomState(zlib.crc32(f"{fill_seed}:{key}".encode()))
        values = source.random_sample(int(np.prod(shape)) if shape else 1)
        values = (2 * values - 1) * (entry["scale"] * np.sqrt(3)) + entry["mean"]
        return torch.from_numpy(values.astype(np.float32).reshape(shape))


def cases(form: str) -> list[Any]:
    """Parameters for a test over all cases of a format; one skipped parameter where none are.

    Args:
        form: Folder of the format, as in `rosinality_stylegan2`, or `format/prefix` for some.
    """
    folder, _, prefix = form.partition("/")
    found = sorted((OPEN / folder).glob(f"{prefix}*/meta.json")) if OPEN.is_dir() else []
    if not found:
        return [pytest.param(None, id="absent", marks=ABSENT)]
    return [pytest.param(Case(meta.parent), id=str(Case(meta.parent))) for meta in found]


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours - theirs).abs().max())


def real_size(name: str) -> dict[str, Any]:
    """What is known of a published file: shapes of its `tensors` by key, of some files more."""
    listing: dict[str, Any] = json.loads((OPEN / "keys_real_size" / f"{name}.json").read_text())
    return listing


def recognised_config(name: str) -> Any:
    """The generator's configuration by the only reader that knows a published file."""
    shapes = real_size(name)["tensors"]
    tensors = {key: torch.zeros(1).expand(shape or [1]) for key, shape in shapes.items()}
    document = Document(Path(name), "torch", tensors)
    (reader,) = [reader for reader in READERS if reader.matches(document)]
    assert reader.generator is not None
    return reader.generator(document).config


def saved(content: Any, folder: Path, **options: Any) -> Path:
    """Write content with `torch.save` into a folder that may be new; `options` are its."""
    folder.mkdir(exist_ok=True)
    path = folder / "file.pt"
    torch.save(content, path, **options)
    return path

"""Checkpoints of a generator's training: folders of a few small files, whole or not there.

A folder `checkpoint-00217248` holds `checkpoint.json` and safetensors files. Tensors are named
`part.name`; every tensor stands in one file, and which one has no meaning, so files can be kept
small whatever the architecture.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ni_core.errors import CheckpointError
from ni_core.generators.families import read_config
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.training.hardware import Hardware

FILE_BYTES = 15 << 20
"""A file is cut before its tensors exceed this; a tensor is never cut."""

FILES = {
    "generator": ("generator", "average"),
    "critics": ("critic", "pixel_critic", "reader"),
    "optimisers": ("generator_optimiser", "critic_optimiser"),
}
"""Which parts of a run share files."""

KEPT_CHECKPOINTS = 8
"""Older checkpoints are deleted."""

DOCUMENT = "checkpoint.json"


@dataclass(frozen=True)
class Stretch:
    """A part of a run that had one recipe and one machine.

    Attributes:
        start: Pictures seen at its start.
        stop: Pictures seen at its end.
        seconds: Wall time.
        recipe: Fields of `Recipe`.
        hardware: As `hardware` names it.
    """

    start: int
    stop: int
    seconds: float
    recipe: dict[str, Any]
    hardware: Hardware


@dataclass(frozen=True)
class Checkpoint:
    """A run between two steps.

    Attributes:
        config: The generator's architecture.
        seen: Pictures seen.
        limit: Pictures in the training set.
        stretches: How it came this far.
        tensors: `AdversarialRun.tensors()`.
    """

    config: StyleGAN2Config
    seen: int
    limit: int
    stretches: tuple[Stretch, ...]
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """Tensors of one part, such as `average`, under their own names."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in self.tensors.items()
            if key.startswith(prefix)
        }


def join_stretches(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """Join neighbours that differ in nothing but their pictures and seconds."""
    joined: list[Stretch] = []
    for stretch in stretches:
        last = joined[-1] if joined else None
        if last and (last.recipe, last.hardware) == (stretch.recipe, stretch.hardware):
            seconds = last.seconds + stretch.seconds
            stretch = Stretch(last.start, stretch.stop, seconds, stretch.recipe, stretch.hardware)
            joined.pop()
        joined.append(stretch)
    return tuple(joined)


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write a checkpoint, whole or not at all, and drop the oldest ones.

    A checkpoint of the same number of pictures is left alone: nothing was trained since.

    Args:
        checkpoint: What to save.
        folder: Where checkpoints are kept; made if missing.

    Returns:
        The checkpoint's own folder.
    """
    path = folder / f"checkpoint-{checkpoint.seen:08d}"
    if path.exists():
        return path
    partial = folder / "partial-checkpoint"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, tensors in _files(checkpoint.tensors):
        save_file(tensors, partial / name)
    (partial / DOCUMENT).write_text(json.dumps(_document(checkpoint), indent=2) + "\n")
    partial.rename(path)
    for old in list_checkpoints(folder)[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)
    return path


def _document(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "family": StyleGAN2.family,
        "config": asdict(checkpoint.config),
        "seen": checkpoint.seen,
        "limit": checkpoint.limit,
        "stretches": [asdict(stretch) for stretch in checkpoint.stretches],
        "tensors": len(checkpoint.tensors),
    }


def _files(tensors: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Names and tensors of the files, each of at most `FILE_BYTES`."""
    for name, parts in FILES.items():
        file: dict[str, Tensor] = {}
        number, size = 1, 0
        for key, value in tensors.items():
            if key.split(".")[0] not in parts:
                continue
            if file and size + value.nbytes > FILE_BYTES:
                yield f"{name}-{number}.safetensors", file
                file, number, size = {}, number + 1, 0
            file[key] = value.detach().cpu().contiguous()
            size += value.nbytes
        yield f"{name}-{number}.safetensors", file


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a folder, by the pictures they have seen."""
    return sorted(folder.glob("checkpoint-*"))


def read_seen(path: Path) -> int:
    """Pictures a checkpoint has seen, without reading its tensors."""
    seen: int = json.loads((path / DOCUMENT).read_text())["seen"]
    return seen


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: The checkpoint's own folder.

    Raises:
        CheckpointError: A file is missing or cannot be read.
    """
    try:
        document = json.loads((path / DOCUMENT).read_text())
        tensors: dict[str, Tensor] = {}
        for file in sorted(path.glob("*.safetensors")):
            tensors |= load_file(file)
        if len(tensors) != document["tensors"]:
            raise ValueError(f"{len(tensors)} of {document['tensors']} tensors are there")
        return Checkpoint(
            config=cast(StyleGAN2Config, read_config(document["family"], document["config"])),
            seen=document["seen"],
            limit=document["limit"],
            stretches=tuple(Stretch(**stretch) for stretch in document["stretches"]),
            tensors=tensors,
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error!r}") from error

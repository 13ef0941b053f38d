"""Checkpoints of a generator's training: what a snapshot of it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ni_core.errors import BrokenBundleError, CheckpointError
from ni_core.generators.families import read_config
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.training.hardware import Hardware
from ni_core.training.snapshots import read_snapshot, write_snapshot


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
    """Write a checkpoint as a snapshot of a folder; see `write_snapshot`."""
    document = {
        "family": StyleGAN2.family,
        "config": asdict(checkpoint.config),
        "limit": checkpoint.limit,
        "stretches": [asdict(stretch) for stretch in checkpoint.stretches],
    }
    return write_snapshot(folder, checkpoint.seen, document, checkpoint.tensors)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: The checkpoint's own folder.

    Raises:
        CheckpointError: A file is missing or cannot be read.
    """
    document, tensors = read_snapshot(path)
    try:
        return Checkpoint(
            config=cast(StyleGAN2Config, read_config(document["family"], document["config"])),
            seen=document["seen"],
            limit=document["limit"],
            stretches=tuple(Stretch(**stretch) for stretch in document["stretches"]),
            tensors=tensors,
        )
    except (KeyError, TypeError, BrokenBundleError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error!r}") from error

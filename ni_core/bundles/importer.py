"""From foreign files to a bundle: read, converted, written, checked by running, then published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ni_core.bundles.draft import Draft, OnProgress, Progress, Reporter, Sources
from ni_core.bundles.manifest import read_manifest
from ni_core.bundles.model_directory import check_name, publish, staged
from ni_core.bundles.verification import Check
from ni_core.errors import BrokenBundleError, InvalidInputError

__all__ = ["Imported", "Progress", "Sources", "import_bundle"]


@dataclass(frozen=True)
class Imported:
    """A bundle that is there now.

    Attributes:
        folder: Where it is.
        notes: What was computed, chosen or left out, one sentence each.
        check: What the check by running found.
    """

    folder: Path
    notes: tuple[str, ...]
    check: Check


def import_bundle(
    name: str,
    sources: Sources,
    *,
    directory: Path,
    licence: str | None = None,
    domain: Mapping[str, str] | None = None,
    replace: bool = False,
    on_progress: OnProgress | None = None,
) -> Imported:
    """Make a bundle of foreign files in the model directory.

    It appears there in one step, checked and complete. Nothing is left of an import that fails,
    and what a killed one left is deleted by the next.

    Args:
        name: What to call it.
        sources: The files.
        directory: The model directory, made if need be.
        licence: SPDX expression of the weights' licence.
        domain: What the pictures show, as in `{"subject": "cats", "alignment": "none"}`.
        replace: Whether a bundle of this name may go.
        on_progress: Called before and after each step.

    Raises:
        InvalidInputError: The name cannot be used, no generator is given, or the disk is full.
        CheckpointError: A file cannot be read, or is not what it was given as.
        GeneratorMismatchError: Directions or encoder are of another generator.
        BrokenBundleError: The networks run, but what comes out cannot be used.
        OSError: A file cannot be opened or written.
    """
    check_name(name, directory, replace=replace)
    if sources.generator is None and sources.encoder is None:
        raise InvalidInputError("neither a generator nor an encoder with its generator is given")
    with staged(directory, name) as folder:
        draft = Draft(folder, name, Reporter(on_progress))
        draft.write_generator_and_encoder(sources)
        draft.write_directions(sources)
        draft.write_trunk(sources)
        draft.document |= {
            "version": _version(directory / name),
            "licence": licence or draft.licence,
            "domain": dict(domain or {}),
        }
        check = draft.check()
        target = publish(folder, name, replace=replace)
        draft.report("done", str(target), sum(file.nbytes for file in draft.files))
    return Imported(target, tuple(draft.notes), check)


def _version(folder: Path) -> int:
    """One more than that of the bundle to be replaced."""
    try:
        return read_manifest(folder).version + 1
    except BrokenBundleError:
        return 1

"""Parts that `ni train` made for a model: added to its bundle in one step, checked by running."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ni_core.bundles.bundle import EMBEDDED, load
from ni_core.bundles.manifest import (
    ENCODER_PARTS,
    FEATURES_PART,
    LANDSCAPE_PART,
    MANIFEST,
    read_manifest,
)
from ni_core.bundles.model_directory import find_bundle, publish, staged
from ni_core.bundles.verification import Check, check_bundle
from ni_core.errors import GeneratorMismatchError, InvalidInputError

_SINGLE = (LANDSCAPE_PART, FEATURES_PART)
"""Parts that are no encoders."""


@dataclass(frozen=True)
class Part:
    """What a training left in a folder: `KIND.safetensors` and `KIND.json`.

    Attributes:
        kind: Its name in a bundle.
        file: Its weights.
        document: What `KIND.json` says: family, config, generator, sha256, training.
    """

    kind: str
    file: Path
    document: dict[str, Any]


def find_parts(folder: Path) -> list[Part]:
    """List what a folder holds that a bundle can take.

    Raises:
        InvalidInputError: There is nothing, or a file is not the one that was trained.
    """
    kinds = (*ENCODER_PARTS, *_SINGLE)
    parts = [part for kind in kinds if (part := _read_part(folder, kind))]
    if not parts:
        raise InvalidInputError(
            f"{folder} holds none of {', '.join(kinds)}: an ended `ni train` leaves KIND.json and "
            "KIND.safetensors there",
            value=str(folder),
        )
    return parts


def attach(name: str, folders: Sequence[Path], *, directory: Path) -> tuple[list[str], Check]:
    """Give a model in the model directory parts that were trained for it.

    A part of the same kind is replaced. The model changes in one step, or not at all.

    Args:
        name: The model.
        folders: What `ni train` was told as `--out`.
        directory: The model directory.

    Returns:
        Kinds of the parts that were added, and what the check by running found.

    Raises:
        UnknownModelError: There is no such model.
        InvalidInputError: It is an embedded one, or a folder holds no part.
        GeneratorMismatchError: A part was trained for another generator.
        BrokenBundleError: The networks run, but what comes out cannot be used.
    """
    source = find_bundle(name, directory)
    if source.parent == EMBEDDED:
        raise InvalidInputError(
            f"{name} comes with the package and is not changed: make a copy of your own first with "
            f"`ni models import --generator {source} --name NAME`",
            value=name,
        )
    parts = [part for folder in folders for part in find_parts(folder)]
    with staged(directory, name) as folder:
        for file in read_manifest(source).files:
            shutil.copyfile(source / file, folder / file)
        shutil.copyfile(source / MANIFEST, folder / MANIFEST)
        add_parts(folder, parts)
        _raise_version(folder)
        check = check_bundle(load(read_manifest(folder)))
        publish(folder, name, replace=True)
    return [part.kind for part in parts], check


def add_parts(folder: Path, parts: Sequence[Part]) -> None:
    """Copy parts into a bundle that nobody reads yet, and write them into its manifest.

    Raises:
        GeneratorMismatchError: A part was trained for another generator.
    """
    document = _read(folder)
    fingerprint = read_manifest(folder).fingerprint()
    for part in parts:
        _check_generator(part, fingerprint)
        shutil.copyfile(part.file, folder / part.file.name)
        entry = {key: part.document[key] for key in ("family", "config")}
        parents = document if part.kind in _SINGLE else document.setdefault("encoders", {})
        parents[part.kind] = {"file": part.file.name, **entry}
        digests = document.setdefault("source", {}).setdefault("sha256", {})
        digests[part.file.name] = part.document["sha256"]
        training = document.setdefault("training", {}).setdefault("parts", {})
        training[part.kind] = part.document["training"]
    _write(folder, document)


def _raise_version(folder: Path) -> None:
    document = _read(folder)
    _write(folder, {**document, "version": int(document["version"]) + 1})


def _read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return document


def _write(folder: Path, document: dict[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _read_part(folder: Path, kind: str) -> Part | None:
    file, described = folder / f"{kind}.safetensors", folder / f"{kind}.json"
    if not (file.is_file() and described.is_file()):
        return None
    try:
        document = json.loads(described.read_text(encoding="utf-8"))
        expected = str(document["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{described} cannot be read: {error!r}") from error
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise InvalidInputError(
            f"{file} is not what {described.name} describes: its SHA-256 is {found}, "
            f"should be {expected}",
            value=found,
            limit=expected,
        )
    return Part(kind, file, document)


def _check_generator(part: Part, fingerprint: str) -> None:
    trained_for = part.document.get("generator")
    if trained_for is not None and trained_for != fingerprint:
        raise GeneratorMismatchError(
            f"{part.file.name} was trained for the generator {trained_for}, but the model's is "
            f"{fingerprint}",
            value=trained_for,
            limit=fingerprint,
        )

"""Stamps: what a step was made of, so that it is repeated if anything of that changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ni_core.training.hardware import Hardware

ROOT = Path(__file__).parent.parent
"""The package whose sources count."""


@dataclass(frozen=True)
class Basis:
    """What decides the result of a step.

    Attributes:
        arguments: Of its command, without those that only say how far and where to go.
        progress: Those.
        inputs: SHA-256 of every input by its path.
        code: SHA-256 of the sources together.
    """

    arguments: list[str]
    progress: list[str]
    inputs: dict[str, str]
    code: str

    def differs(self, other: Basis) -> str | None:
        """Say what changed since `other`, apart from the progress."""
        if self.arguments != other.arguments:
            return "its options changed"
        for path in sorted(self.inputs.keys() | other.inputs.keys()):
            if self.inputs.get(path) != other.inputs.get(path):
                return f"its input {path} changed"
        return None if self.code == other.code else "its code changed"


@dataclass(frozen=True)
class Stamp:
    """One run of a step.

    Attributes:
        basis: What it was made of.
        finished: Whether it came to its end.
        seconds: Wall time.
        hardware: What it ran on.
    """

    basis: Basis
    finished: bool
    seconds: float
    hardware: Hardware


def write_stamp(stamp: Stamp, path: Path) -> None:
    """Write a stamp, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(stamp), indent=2) + "\n")
    partial.rename(path)


def read_stamp(path: Path) -> Stamp | None:
    """Read a stamp; None if there is none."""
    if not path.exists():
        return None
    document = json.loads(path.read_text())
    return Stamp(**{**document, "basis": Basis(**document["basis"])})


def matches(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Files below a folder that fit one of the patterns."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return sorted(found)


def hash_files(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of files by their path below the folder."""
    return {str(path.relative_to(folder)): _sha256(path) for path in matches(folder, patterns)}


def hash_code(patterns: tuple[str, ...]) -> str:
    """One SHA-256 of sources below `ni_core`."""
    text = json.dumps(hash_files(ROOT, patterns), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

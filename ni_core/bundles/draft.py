"""A bundle in the making: its parts are read and written one after the other."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ni_core.bundles.bundle import load
from ni_core.bundles.manifest import MANIFEST, Manifest, read_manifest
from ni_core.bundles.own import (
    default_trunk,
    own_encoder,
    own_generator,
    own_manifest,
    own_trunk,
)
from ni_core.bundles.tensor_file import WrittenFile, write_tensors
from ni_core.bundles.trunks import Trunk, read_trunk
from ni_core.bundles.verification import Check, check_bundle
from ni_core.checkpoints import (
    EncoderCheckpoint,
    GeneratorCheckpoint,
    read_encoder,
    read_generator,
)
from ni_core.checkpoints.directions import fit_directions, pack_directions, read_directions
from ni_core.encoders import encoder_kind
from ni_core.errors import InvalidInputError
from ni_core.generators.base import GeneratorConfig

UNKNOWN_LICENCE = "NOASSERTION"
"""What SPDX writes where nobody said anything."""


@dataclass(frozen=True)
class Sources:
    """Files to make a bundle of; each may also be a folder of a bundle of ours.

    Attributes:
        generator: The generator; None takes the one inside the encoder's file.
        encoder: An encoder of the generator's pictures.
        directions: Files of directions.
        directions_space: The space of directions whose files do not tell it.
        trunk: The feature network for LPIPS; None copies that of the embedded bundle.
        trunk_architecture: torchvision's name of its network; None tells it by the shapes.
        trunk_calibrated: Whether the lpips package's channel weights fit; None decides by digests.
        layout: JSON file with what the generator's file does not tell.
        resolution: Side of the images in pixels, for files that hold several and do not tell.
    """

    generator: Path | None = None
    encoder: Path | None = None
    directions: tuple[Path, ...] = ()
    directions_space: Literal["z", "w"] = "w"
    trunk: Path | None = None
    trunk_architecture: str | None = None
    trunk_calibrated: bool | None = None
    layout: Path | None = None
    resolution: int | None = None


@dataclass(frozen=True)
class Progress:
    """One line about a running import.

    Attributes:
        step: `reading`, `converted`, `writing`, `checking` or `done`.
        subject: The file or part it is about.
        nbytes: Its size.
        seconds: Since the import began.
    """

    step: str
    subject: str
    nbytes: int
    seconds: float


OnProgress = Callable[[Progress], None]


class Reporter:
    """Tells the caller what happens, with the seconds since the start."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        """Start the clock."""
        self._on_progress = on_progress
        self._start = time.monotonic()

    def __call__(self, step: str, subject: str, nbytes: int = 0) -> None:
        """Tell of one step."""
        if self._on_progress is not None:
            seconds = time.monotonic() - self._start
            self._on_progress(Progress(step, subject, nbytes, seconds))


@dataclass
class Draft:
    """A bundle in the making. No tensors are kept: each part is read, written and let go.

    Attributes:
        folder: Where its files are written.
        name: What it will be called.
        report: Told of each step.
        document: The manifest so far.
        origins: What each part was read from.
        notes: What was computed, chosen or left out so far.
        files: What was written so far.
        licence: Of the bundle a part was taken from, if one was.
        config: The generator's configuration, once it was read.
    """

    folder: Path
    name: str
    report: Reporter
    document: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: list[WrittenFile] = field(default_factory=list)
    licence: str = UNKNOWN_LICENCE
    config: GeneratorConfig | None = None

    def write_generator_and_encoder(self, sources: Sources) -> None:
        """Write what the files of generator and encoder hold."""
        if sources.generator is not None:
            self._write_generator(
                self._read_generator(sources.generator, sources), sources.generator
            )
        if sources.encoder is None:
            return
        encoder = self._read_encoder(sources.encoder)
        if sources.generator is None:
            self._write_generator(_generator_of(encoder, sources.encoder), sources.encoder)
        elif encoder.generator is not None:
            self.notes.append("the generator in the encoder's file is left out")
        encoder = dataclasses.replace(encoder, generator=None)
        kind = encoder_kind(encoder.family, encoder.config)
        self.document["encoders"] = self._write_network(kind, encoder, sources.encoder)

    def write_directions(self, sources: Sources) -> None:
        """Write the directions of all files, in order."""
        if not sources.directions:
            return
        assert self.config is not None
        space = sources.directions_space
        found = []
        for path in sources.directions:
            self._reading(path)
            found += read_directions(path, space=space)
        tensors, entries = pack_directions(fit_directions(found, self.config))
        self.document["directions"] = {
            "file": self._write("directions", tensors),
            "entries": [dataclasses.asdict(entry) for entry in entries],
        }
        self.origins["directions"] = [_origin(path) for path in sources.directions]

    def write_trunk(self, sources: Sources) -> None:
        """Write the trunk that is given, or the embedded one."""
        trunk = self._read_trunk(sources)
        self.notes += trunk.notes
        self.document["trunk"] = {
            "file": self._write("trunk", trunk.tensors),
            "architecture": trunk.architecture,
            "name": trunk.name,
            "calibrated": trunk.calibrated,
        }

    def check(self) -> Check:
        """Load the bundle from its folder, run it, and write down what was found."""
        self.report("checking", self.name, sum(file.nbytes for file in self.files))
        self._write_manifest(Check())
        check = check_bundle(load(read_manifest(self.folder)))
        self._write_manifest(check)
        return check

    def _write_manifest(self, check: Check) -> None:
        source = {
            "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "parts": self.origins,
            "notes": self.notes,
            "warnings": list(check.warnings),
            "check": dict(check.figures),
            "sha256": {file.name: file.sha256 for file in self.files},
        }
        document = {"name": self.name, **self.document, "source": source}
        with (self.folder / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read_generator(self, path: Path, sources: Sources) -> GeneratorCheckpoint:
        self._reading(path)
        if own := self._own(path):
            return own_generator(own)
        return read_generator(path, resolution=sources.resolution, layout=sources.layout)

    def _read_encoder(self, path: Path) -> EncoderCheckpoint:
        self._reading(path)
        if own := self._own(path):
            return own_encoder(own)
        return read_encoder(path)

    def _read_trunk(self, sources: Sources) -> Trunk:
        if sources.trunk is None:
            return default_trunk()
        self._reading(sources.trunk)
        self.origins["trunk"] = _origin(sources.trunk)
        if own := own_manifest(sources.trunk):
            return own_trunk(own)
        return read_trunk(
            sources.trunk,
            architecture=sources.trunk_architecture,
            calibrated=sources.trunk_calibrated,
        )

    def _own(self, path: Path) -> Manifest | None:
        manifest = own_manifest(path)
        if manifest is not None:
            self.licence = manifest.licence
        return manifest

    def _reading(self, path: Path) -> None:
        if path.is_dir() and own_manifest(path) is None:
            raise InvalidInputError(f"{path} is a folder, and no model's: it has no {MANIFEST}")
        self.report("reading", path.name, path.stat().st_size if path.is_file() else 0)

    def _write_generator(self, checkpoint: GeneratorCheckpoint, path: Path) -> None:
        self.config = checkpoint.config
        self.document["resolution"] = checkpoint.config.resolution
        self.document |= self._write_network("generator", checkpoint, path)

    def _write_network(
        self, part: str, checkpoint: GeneratorCheckpoint | EncoderCheckpoint, path: Path
    ) -> dict[str, Any]:
        """Write a part's file; return its entry in the manifest under the part's name."""
        nbytes = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
        self.report("converted", f"{checkpoint.format} to {checkpoint.family}", nbytes)
        self.notes += checkpoint.notes
        self.origins[part] = {"format": checkpoint.format, **_origin(path)}
        file = self._write(part, checkpoint.tensors)
        fields = _fields(checkpoint.config)
        return {part: {"file": file, "family": checkpoint.family, "config": fields}}

    def _write(self, part: str, tensors: Mapping[str, Tensor]) -> str:
        file = f"{part}.safetensors"
        self.report("writing", file, sum(tensor.nbytes for tensor in tensors.values()))
        self.files.append(write_tensors(self.folder / file, tensors))
        return file


def _generator_of(encoder: EncoderCheckpoint, path: Path) -> GeneratorCheckpoint:
    if encoder.generator is None:
        raise InvalidInputError(
            f"{path.name} ({encoder.format}) holds an encoder only: give its generator, too",
            value=path.name,
        )
    return encoder.generator


def _fields(config: Any) -> dict[str, Any]:
    return dict(config) if isinstance(config, Mapping) else dataclasses.asdict(config)


def _origin(path: Path) -> dict[str, Any]:
    """Name, size and digest of a file that something was read from."""
    if not path.is_file():
        return {"file": path.name}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}

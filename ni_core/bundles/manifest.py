"""A bundle's manifest: `manifest.json` beside the weights, read without loading them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ni_core.errors import BrokenBundleError
from ni_core.perceptual import Architecture

MANIFEST = "manifest.json"

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What a bundle may be called."""

TRUNKS: Mapping[str, Architecture] = {
    "squeezenet1_1": "squeeze",
    "alexnet": "alex",
    "vgg16": "vgg",
}
"""Trunks by torchvision's name, and what the lpips package calls them."""

ANY_ENCODER = "encoder"
"""An encoder that is none of the other kinds; as a part to ask for: an encoder of any kind."""

ENCODER_PARTS = ("e4e", "restyle", "psp", ANY_ENCODER, "mapper")
"""Kinds of encoders, those a user would rather have first."""

LANDSCAPE_PART = "landscape"
"""θ of landscape learning, as a part of a bundle and as the method that runs it."""

FEATURES_PART = "features"
"""Feature network that descents and encoders compare pictures by, beside LPIPS."""

_FILE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True)
class NetworkPart:
    """A network: its file, its family and the family's configuration."""

    file: str
    family: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class DirectionEntry:
    """One direction that came with the model, not found by a method of ours.

    Attributes:
        name: What it does.
        key: Its tensor in the directions' file: `[d]`, or one row for each row of W+.
        space: `z` or `w`; a direction in W is added to rows of W+.
        layers: Rows it is meant for; None is all.
        deviation: Standard deviation of the latents along it, if known.
        source: Where it came from, as in `ganspace: ffhq_pca.pt`.
    """

    name: str
    key: str
    space: str
    layers: tuple[int, ...] | None
    deviation: float | None
    source: str


@dataclass(frozen=True)
class DirectionsPart:
    """Directions that came with the model: one file of tensors, and what each is."""

    file: str
    entries: tuple[DirectionEntry, ...]


@dataclass(frozen=True)
class TrunkPart:
    """The feature network inside LPIPS.

    Attributes:
        file: Its weights, under torchvision's key names.
        architecture: Its network under torchvision's name, one of `TRUNKS`.
        name: What reports call it.
        calibrated: Whether the lpips package's own channel weights fit it: true for torchvision's
            ImageNet weights alone.
    """

    file: str
    architecture: str
    name: str
    calibrated: bool = False


@dataclass(frozen=True)
class JudgePart:
    """A factor reader for evaluation alone: its file, and what reports call it."""

    file: str
    name: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        folder: Where its files are.
        name: Its name.
        version: Counts up with each change of the weights.
        licence: SPDX expression.
        resolution: Side of its images in pixels.
        generator: The generator.
        trunk: The perceptual trunk.
        encoders: Encoders of its pictures by what they are, as in `ENCODER_PARTS`.
        landscape: θ of landscape learning, if there is one.
        features: The feature network of descents, if there is one.
        directions: Directions that came with the model, if there are any.
        judge: The network that evaluation reads factors with, if there is one.
        domain: What its pictures show, free form: subject, alignment, background.
        source: Where an imported bundle's parts came from, free form.
        training: How it was trained, free form.
        figures: What was measured, free form.
    """

    folder: Path
    name: str
    version: int
    licence: str
    resolution: int
    generator: NetworkPart
    trunk: TrunkPart
    encoders: Mapping[str, NetworkPart] = field(default_factory=dict)
    landscape: NetworkPart | None = None
    features: NetworkPart | None = None
    directions: DirectionsPart | None = None
    judge: JudgePart | None = None
    domain: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> frozenset[str]:
        """Names of the parts that are present; inversion methods ask for parts by name."""
        optional = {
            "directions": self.directions,
            LANDSCAPE_PART: self.landscape,
            FEATURES_PART: self.features,
        }
        found = {
            "generator",
            "trunk",
            *self.encoders,
            *(name for name in optional if optional[name]),
        }
        return frozenset(found | {ANY_ENCODER} if self.encoders else found)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the bundle's files, the manifest left out."""
        files = [self.generator.file, self.trunk.file]
        files += [encoder.file for encoder in self.encoders.values()]
        optional = (self.landscape, self.features, self.directions, self.judge)
        return (*files, *(part.file for part in optional if part is not None))

    def path(self, file: str) -> Path:
        """Path of one of the bundle's files."""
        return self.folder / file

    def fingerprint(self) -> str:
        """Name of the generator's weights: the start of their file's SHA-256."""
        with self.path(self.generator.file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:_FINGERPRINT_DIGITS]


def read_manifest(folder: Path) -> Manifest:
    """Read and check a bundle's manifest.

    Args:
        folder: The bundle.

    Returns:
        The manifest; every file it names exists.

    Raises:
        BrokenBundleError: The manifest is missing, unreadable or incomplete.
    """
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        trunk = document["trunk"]
        manifest = Manifest(
            folder=folder,
            name=str(document["name"]),
            version=int(document["version"]),
            licence=str(document["licence"]),
            resolution=int(document["resolution"]),
            generator=_network(document["generator"]),
            trunk=TrunkPart(
                file=_file(trunk["file"]),
                architecture=str(trunk["architecture"]),
                name=str(trunk["name"]),
                calibrated=bool(trunk.get("calibrated", False)),
            ),
            encoders=_encoders(document),
            landscape=_optional_network(document.get(LANDSCAPE_PART)),
            features=_optional_network(document.get(FEATURES_PART)),
            directions=_directions(document.get("directions")),
            judge=_judge(document.get("judge")),
            domain=dict(document.get("domain", {})),
            source=dict(document.get("source", {})),
            training=dict(document.get("training", {})),
            figures=dict(document.get("figures", {})),
        )
    except FileNotFoundError as error:
        raise BrokenBundleError(f"bundle {folder.name} has no {MANIFEST}") from error
    except KeyError as error:
        raise BrokenBundleError(f"{MANIFEST} of bundle {folder.name} lacks {error}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BrokenBundleError(
            f"{MANIFEST} of bundle {folder.name} cannot be read: {error}"
        ) from error
    return _checked(manifest)


def _network(part: Mapping[str, Any]) -> NetworkPart:
    return NetworkPart(_file(part["file"]), str(part["family"]), dict(part["config"]))


def _optional_network(part: Mapping[str, Any] | None) -> NetworkPart | None:
    return None if part is None else _network(part)


def _encoders(document: Mapping[str, Any]) -> dict[str, NetworkPart]:
    """Encoders in the order of `ENCODER_PARTS`; a bundle of before has one, called `encoder`."""
    parts = {key: _network(part) for key, part in document.get("encoders", {}).items()}
    if "encoder" in document:
        parts[ANY_ENCODER] = _network(document["encoder"])
    for key in parts:
        if key not in ENCODER_PARTS:
            raise ValueError(f"encoder {key!r} is not one of {', '.join(ENCODER_PARTS)}")
    return {key: parts[key] for key in ENCODER_PARTS if key in parts}


def _directions(part: Mapping[str, Any] | None) -> DirectionsPart | None:
    if part is None:
        return None
    entries = tuple(
        DirectionEntry(
            name=str(entry["name"]),
            key=str(entry["key"]),
            space=str(entry["space"]),
            layers=None if entry["layers"] is None else tuple(map(int, entry["layers"])),
            deviation=None if entry["deviation"] is None else float(entry["deviation"]),
            source=str(entry["source"]),
        )
        for entry in part["entries"]
    )
    return DirectionsPart(_file(part["file"]), entries)


def _judge(part: Mapping[str, Any] | None) -> JudgePart | None:
    return None if part is None else JudgePart(_file(part["file"]), str(part["name"]))


def _checked(manifest: Manifest) -> Manifest:
    if not NAME_PATTERN.fullmatch(manifest.name):
        raise BrokenBundleError(
            f"bundle name {manifest.name!r} is not of the form {NAME_PATTERN.pattern}",
            value=manifest.name,
            limit=NAME_PATTERN.pattern,
        )
    if manifest.trunk.architecture not in TRUNKS:
        raise BrokenBundleError(
            f"trunk {manifest.trunk.architecture!r} is not one of {', '.join(TRUNKS)}",
            value=manifest.trunk.architecture,
            limit=list(TRUNKS),
        )
    for file in manifest.files:
        if not manifest.path(file).is_file():
            raise BrokenBundleError(f"bundle {manifest.name} lacks the file {file}", value=file)
    return manifest


def _file(name: object) -> str:
    if not isinstance(name, str) or not _FILE_PATTERN.fullmatch(name):
        raise BrokenBundleError(f"{name!r} is not a plain file name", value=str(name))
    return name

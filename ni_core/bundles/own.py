"""Parts of our own bundles, so that one bundle's can be combined with another's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ni_core.bundles.bundle import EMBEDDED
from ni_core.bundles.manifest import MANIFEST, TRUNKS, Manifest, read_manifest
from ni_core.bundles.trunks import Trunk
from ni_core.checkpoints import EncoderCheckpoint, GeneratorCheckpoint
from ni_core.errors import BrokenBundleError, InvalidInputError
from ni_core.generators import read_config

FORMAT = "bundle"
"""What manifests call this format."""

DEFAULT = "portraits"
"""The embedded bundle, whose trunk is copied where no other is given."""


def own_manifest(path: Path) -> Manifest | None:
    """Read the manifest if a path is one of our bundles, or its manifest; None otherwise.

    Raises:
        BrokenBundleError: It is one, and cannot be read.
    """
    folder = path.parent if path.name == MANIFEST else path
    return read_manifest(folder) if (folder / MANIFEST).is_file() and folder.is_dir() else None


def own_generator(manifest: Manifest) -> GeneratorCheckpoint:
    """Read the generator of a bundle."""
    part = manifest.generator
    config = read_config(part.family, part.config)
    return GeneratorCheckpoint(
        part.family, config, _read(manifest, part.file), FORMAT, (_note(manifest, "generator"),)
    )


def own_encoder(manifest: Manifest) -> EncoderCheckpoint:
    """Read the encoder of a bundle, and the generator beside it.

    Raises:
        InvalidInputError: The bundle has no encoder, or several.
    """
    if len(manifest.encoders) != 1:
        raise InvalidInputError(
            f"the bundle {manifest.name} has {len(manifest.encoders)} encoders, but must have 1 to "
            f"take it from: {', '.join(manifest.encoders) or 'none'}",
            value=manifest.name,
        )
    (part,) = manifest.encoders.values()
    return EncoderCheckpoint(
        part.family,
        part.config,
        _read(manifest, part.file),
        FORMAT,
        (_note(manifest, "encoder"),),
        own_generator(manifest),
    )


def own_trunk(manifest: Manifest) -> Trunk:
    """Read the trunk of a bundle."""
    part = manifest.trunk
    note = _note(manifest, "trunk")
    return Trunk(_read(manifest, part.file), part.architecture, part.name, part.calibrated, (note,))


def default_trunk() -> Trunk:
    """Read the trunk of the embedded bundle."""
    trunk = own_trunk(read_manifest(EMBEDDED / DEFAULT))
    note = (
        f"LPIPS is measured on {trunk.name}, the trunk of the embedded model; for values as others "
        f"report them, give torchvision's weights of {', '.join(TRUNKS)} as trunk"
    )
    return replace(trunk, notes=(note,))


def _note(manifest: Manifest, part: str) -> str:
    return f"the {part} is that of the bundle {manifest.name}"


def _read(manifest: Manifest, file: str) -> dict[str, Tensor]:
    try:
        return load_file(manifest.path(file))
    except (SafetensorError, OSError) as error:
        raise BrokenBundleError(f"{file} of bundle {manifest.name} cannot be read") from error

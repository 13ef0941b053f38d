"""Bundle: a generator and the networks that belong to it, loaded together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ni_core.bundles.manifest import TRUNKS, Manifest, read_manifest
from ni_core.bundles.memo import Memo
from ni_core.encoders.families import build_encoder, read_encoder_config
from ni_core.encoders.protocol import Encoder
from ni_core.errors import BrokenBundleError
from ni_core.generators import Generator, build_generator, read_config
from ni_core.perceptual import Perceptual, load_perceptual

EMBEDDED = Path(__file__).parent
"""Where the bundles that ship with the package are."""


@dataclass(frozen=True)
class Bundle:
    """Everything of one domain, ready to run on one device.

    Attributes:
        name: The bundle's name.
        manifest: What it says of itself.
        generator: The frozen generator.
        perceptual: The perceptual distance, on the bundle's own trunk.
        nbytes: Memory of all weights, in bytes.
        encoder: The frozen encoder, if the bundle has one.
        memo: What was derived from the weights, such as directions.
    """

    name: str
    manifest: Manifest
    generator: Generator
    perceptual: Perceptual
    nbytes: int
    encoder: Encoder | None = None
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)

    @property
    def device(self) -> torch.device:
        """Where all its weights are."""
        return self.generator.device


def load(manifest: Manifest, device: str | torch.device = "cpu") -> Bundle:
    """Load a bundle's networks.

    Args:
        manifest: The bundle's manifest.
        device: Where to put the weights.

    Returns:
        The bundle, frozen and in evaluation mode.

    Raises:
        BrokenBundleError: A file cannot be read or does not fit the architecture.
    """
    generator = _load_generator(manifest, device)
    perceptual = load_perceptual(
        _read(manifest, manifest.trunk.file),
        architecture=TRUNKS[manifest.trunk.architecture],
        name=manifest.trunk.name,
        calibrated=manifest.trunk.calibrated,
    ).to(device)
    encoder = _load_encoder(manifest, device)
    parts = [part for part in (generator, perceptual, encoder) if part is not None]
    nbytes = sum(_nbytes(cast(torch.nn.Module, part)) for part in parts)
    return Bundle(manifest.name, manifest, generator, perceptual, nbytes, encoder)


def load_bundle(
    name_or_folder: str | Path,
    *,
    model_directory: Path | None = None,
    device: str | torch.device = "cpu",
) -> Bundle:
    """Load a bundle by name or from a folder.

    Args:
        name_or_folder: A folder with a `manifest.json`, or the name of a bundle in
            `model_directory` or among the embedded ones.
        model_directory: Folder of bundles, searched first.
        device: Where to put the weights.

    Returns:
        The bundle.

    Raises:
        BrokenBundleError: There is no such bundle, or it cannot be read.
    """
    folders = [Path(name_or_folder), EMBEDDED / str(name_or_folder)]
    if model_directory is not None:
        folders.insert(0, model_directory / str(name_or_folder))
    for folder in folders:
        if (folder / "manifest.json").is_file():
            return load(read_manifest(folder), device)
    raise BrokenBundleError(f"no bundle at {name_or_folder!s}", value=str(name_or_folder))


def _load_generator(manifest: Manifest, device: str | torch.device) -> Generator:
    part = manifest.generator
    config = read_config(part.family, part.config)
    try:
        generator = build_generator(part.family, config, _read(manifest, part.file))
    except BrokenBundleError as error:
        raise BrokenBundleError(f"{part.file} of bundle {manifest.name}: {error}") from error
    generator.fingerprint = manifest.fingerprint()
    cast(torch.nn.Module, generator).to(device)
    return generator


def _load_encoder(manifest: Manifest, device: str | torch.device) -> Encoder | None:
    part = manifest.encoder
    if part is None:
        return None
    config = read_encoder_config(part.family, part.config)
    try:
        encoder = build_encoder(part.family, config, _read(manifest, part.file))
    except BrokenBundleError as error:
        raise BrokenBundleError(f"{part.file} of bundle {manifest.name}: {error}") from error
    cast(torch.nn.Module, encoder).to(device)
    return encoder


def _read(manifest: Manifest, file: str) -> dict[str, Tensor]:
    """Tensors of a file, real numbers as float32; a float32 file stays memory-mapped."""
    try:
        tensors = load_file(manifest.path(file))
        return {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}
    except (SafetensorError, OSError) as error:
        raise BrokenBundleError(f"{file} of bundle {manifest.name} cannot be read") from error


def _nbytes(module: torch.nn.Module) -> int:
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.nbytes for tensor in tensors)

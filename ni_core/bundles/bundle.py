"""Bundle: a generator and the networks that belong to it, loaded together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ni_core.bundles.manifest import MANIFEST, TRUNKS, Manifest, NetworkPart, read_manifest
from ni_core.bundles.memo import Memo
from ni_core.encoders.families import build_encoder, read_encoder_config
from ni_core.encoders.frozen import FrozenFeatures, build_features, read_features_config
from ni_core.encoders.protocol import Encoder
from ni_core.errors import BrokenBundleError
from ni_core.generators import Generator, build_generator, read_config
from ni_core.landscapes import Landscape, build_landscape
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
        encoders: The frozen encoders by kind, in the order of `ENCODER_PARTS`.
        landscape: θ of landscape learning, if the bundle has it.
        features: Frozen feature network of descents, if the bundle has it.
        memo: What was derived from the weights, such as directions.
    """

    name: str
    manifest: Manifest
    generator: Generator
    perceptual: Perceptual
    nbytes: int
    encoders: Mapping[str, Encoder] = field(default_factory=dict)
    landscape: Landscape | None = None
    features: FrozenFeatures | None = None
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
    encoders = {
        kind: cast(Encoder, _load_network(manifest, part, _encoder, device))
        for kind, part in manifest.encoders.items()
    }
    landscape = cast(
        Landscape | None, _load_optional(manifest, manifest.landscape, build_landscape, device)
    )
    features = cast(
        FrozenFeatures | None, _load_optional(manifest, manifest.features, _features, device)
    )
    parts = (generator, perceptual, *encoders.values(), landscape, features)
    nbytes = sum(_nbytes(cast(torch.nn.Module, part)) for part in parts if part is not None)
    return Bundle(
        manifest.name, manifest, generator, perceptual, nbytes, encoders, landscape, features
    )


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
    folder = bundle_folder(name_or_folder, model_directory=model_directory)
    return load(read_manifest(folder), device)


def bundle_folder(name_or_folder: str | Path, *, model_directory: Path | None = None) -> Path:
    """Find the folder of a bundle, as `load_bundle` does.

    Raises:
        BrokenBundleError: There is no such bundle.
    """
    folders = [Path(name_or_folder), EMBEDDED / str(name_or_folder)]
    if model_directory is not None:
        folders.insert(0, model_directory / str(name_or_folder))
    for folder in folders:
        if (folder / MANIFEST).is_file():
            return folder
    raise BrokenBundleError(f"no bundle at {name_or_folder!s}", value=str(name_or_folder))


def _load_generator(manifest: Manifest, device: str | torch.device) -> Generator:
    generator = cast(Generator, _load_network(manifest, manifest.generator, _generator, device))
    generator.fingerprint = manifest.fingerprint()
    return generator


def _load_network(
    manifest: Manifest,
    part: NetworkPart,
    build: Callable[[str, Mapping[str, Any], Mapping[str, Tensor]], object],
    device: str | torch.device,
) -> object:
    """Build a part's network from its family, the fields of its configuration and its tensors."""
    try:
        network = build(part.family, part.config, _read(manifest, part.file))
    except BrokenBundleError as error:
        raise BrokenBundleError(f"{part.file} of bundle {manifest.name}: {error}") from error
    return cast(torch.nn.Module, network).to(device)


def _load_optional(
    manifest: Manifest,
    part: NetworkPart | None,
    build: Callable[[str, Mapping[str, Any], Mapping[str, Tensor]], object],
    device: str | torch.device,
) -> object:
    """Like `_load_network`; None for a part that the bundle has not."""
    return None if part is None else _load_network(manifest, part, build, device)


def _generator(family: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Generator:
    return build_generator(family, read_config(family, fields), tensors)


def _encoder(family: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Encoder:
    return build_encoder(family, read_encoder_config(family, fields), tensors)


def _features(
    family: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> FrozenFeatures:
    return build_features(read_features_config(family, fields), tensors).fold()


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

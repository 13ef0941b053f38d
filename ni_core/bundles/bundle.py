"""Bundle: a generator and the networks that belong to it, loaded together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ni_core.bundles.manifest import TRUNKS, Manifest, read_manifest
from ni_core.bundles.memo import Memo
from ni_core.errors import BrokenBundleError
from ni_core.generators import Generator, StyleGAN2, StyleGAN2Config
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
        memo: What was derived from the weights, such as directions.
    """

    name: str
    manifest: Manifest
    generator: Generator
    perceptual: Perceptual
    nbytes: int
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
    nbytes = sum(_nbytes(module) for module in (generator, perceptual))
    return Bundle(manifest.name, manifest, generator, perceptual, nbytes)


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


def _stylegan2(config: Mapping[str, Any], tensors: dict[str, Tensor]) -> StyleGAN2:
    fields = {**config, "channels": tuple(config["channels"])}
    with torch.device("meta"):
        network = StyleGAN2(StyleGAN2Config(**fields))
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.freeze()


_FAMILIES: dict[str, Callable[[Mapping[str, Any], dict[str, Tensor]], StyleGAN2]] = {
    StyleGAN2.family: _stylegan2,
}


def _load_generator(manifest: Manifest, device: str | torch.device) -> StyleGAN2:
    part = manifest.generator
    if part.family not in _FAMILIES:
        raise BrokenBundleError(
            f"generator family {part.family!r} is not one of {', '.join(_FAMILIES)}",
            value=part.family,
            limit=list(_FAMILIES),
        )
    try:
        generator = _FAMILIES[part.family](part.config, _read(manifest, part.file))
    except (KeyError, TypeError, RuntimeError) as error:
        raise BrokenBundleError(f"{part.file} does not fit its manifest: {error}") from error
    generator.fingerprint = manifest.fingerprint()
    return generator.to(device)


def _read(manifest: Manifest, file: str) -> dict[str, Tensor]:
    """Tensors of a file as float32; a float32 file stays memory-mapped and shared."""
    try:
        return {key: tensor.float() for key, tensor in load_file(manifest.path(file)).items()}
    except (SafetensorError, OSError) as error:
        raise BrokenBundleError(f"{file} of bundle {manifest.name} cannot be read") from error


def _nbytes(module: torch.nn.Module) -> int:
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.nbytes for tensor in tensors)

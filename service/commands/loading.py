"""Bundles and files for the commands that work without a service."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ni_core.bundles import Bundle, ModelCache


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Add `--model`."""
    parser.add_argument(
        "--model",
        default="portraits",
        help="name of a bundle, or the path of its folder (%(default)s)",
    )


def model_directory() -> Path:
    """Return the folder of bundles: NI_MODEL_DIR, or that of `ni up` where nothing is set."""
    from worker.settings import Settings

    return Settings().model_dir


def open_cache() -> "ModelCache":
    """Return the bundles that the model directory and the package hold."""
    from ni_core.bundles import ModelCache

    return ModelCache([model_directory()])


def open_bundle(name: str) -> "Bundle":
    """Load a bundle by name, or from a folder, on the device that NI_DEVICE names."""
    from ni_core.bundles import load_bundle
    from worker.device import resolve_device
    from worker.settings import Settings

    settings = Settings()
    device = resolve_device(settings.device)
    return load_bundle(name, model_directory=settings.model_dir, device=device)


def write(path: Path, content: bytes) -> None:
    """Write a file, with the folders above it, and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(path)

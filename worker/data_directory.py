"""Where one installation keeps what outlives its processes. Imports nothing, for quick commands."""

from collections.abc import Mapping
from pathlib import Path


def default_data_directory(environment: Mapping[str, str]) -> Path:
    """Return the folder that keeps the private Redis' data and imported models between runs."""
    base = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "neural-inversion"


def models_in(data_directory: Path) -> Path:
    """Return the folder of bundles in a data directory."""
    return data_directory / "models"

from pathlib import Path

import pytest

from ni_core.bundles import Bundle, load_bundle, write_tiny_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of 16 px with random weights."""
    folder: Path = write_tiny_bundle(tmp_path_factory.mktemp("models"))
    return load_bundle(folder)

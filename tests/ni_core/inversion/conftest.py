from pathlib import Path

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle, load_bundle, write_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = write_tiny_bundle(tmp_path_factory.mktemp("models"))
    return load_bundle(folder)


@pytest.fixture(scope="session")
def pictures(bundle: Bundle) -> Tensor:
    """Four pictures the tiny generator made itself."""
    generator = bundle.generator
    z = torch.randn(4, generator.z_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return generator.synthesize(generator.broadcast(generator.map(z), psi=0.7))

import pytest

from ni_core.perceptual import Perceptual, load_perceptual
from tests.ni_core.trunks import random_trunk


@pytest.fixture(scope="session")
def squeeze() -> Perceptual:
    """LPIPS on a random SqueezeNet, its channels not weighted."""
    trunk = random_trunk("squeeze")
    return load_perceptual(trunk, architecture="squeeze", name="random", calibrated=False)

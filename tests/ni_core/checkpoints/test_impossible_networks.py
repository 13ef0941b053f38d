"""Files whose tensors are consistent, but make a network that there cannot be."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ni_core.checkpoints import read_generator
from ni_core.errors import CheckpointError
from tests.ni_core.checkpoints import test_genforce_stylegan2 as genforce
from tests.ni_core.checkpoints import test_rosinality as rosinality
from tests.ni_core.checkpoints.nvidia_files import stylegan2, tensorflow, write_pickle
from tests.ni_core.checkpoints.test_nvidia import SG2, random_tensors

TOO_MANY_TAPS = "needs 1 to 64 taps"


def of_rosinality(path: Path) -> str:
    tensors = rosinality.foreign_tensors(rosinality.SMALL)
    kernel = torch.full((65, 65), (2 / 65) ** 2)
    torch.save({k: kernel if k.endswith(".kernel") else t for k, t in tensors.items()}, path)
    return TOO_MANY_TAPS


def of_genforce(path: Path) -> str:
    tensors = genforce.foreign_tensors()
    kernel = torch.full((1, 1, 65, 65), (2 / 65) ** 2)
    tensors = {k: kernel if k.endswith(".kernel") else t for k, t in tensors.items()}
    torch.save({"generator_smooth": tensors}, path)
    return TOO_MANY_TAPS


def of_nvidia(path: Path) -> str:
    network = stylegan2(SG2, random_tensors("stylegan2", SG2))
    network.attributes["img_channels"] = 2
    write_pickle(path, {"G_ema": network})
    return "2 image channels"


def of_tensorflow(path: Path) -> str:
    tensors = random_tensors("stylegan2", SG2)
    write_pickle(path, (None, None, tensorflow(SG2, tensors, resample_kernel=[1] * 65)))
    return TOO_MANY_TAPS


@pytest.mark.parametrize("write", [of_rosinality, of_genforce, of_nvidia, of_tensorflow])
def test_a_network_that_cannot_be_is_an_error_of_its_file(
    write: Callable[[Path], str], tmp_path: Path
) -> None:
    meaning = write(tmp_path / "strange.pt")
    with pytest.raises(CheckpointError, match=rf"^strange\.pt .*{meaning}"):
        read_generator(tmp_path / "strange.pt")

"""DCGAN-type networks whose architecture the shapes tell, or leave in doubt."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ni_core.checkpoints import load_generator
from ni_core.errors import CheckpointError
from ni_core.generators import sample_z
from tests.ni_core.checkpoints.stacks import (
    View,
    dcgan,
    norm,
    perceptron,
    randomised,
    rendered,
    stored,
)


@pytest.mark.parametrize(
    ("z_dim", "widths", "kernels", "resolution"),
    [
        (100, [16, 8, 8, 4, 3], [4, 4, 4, 4, 4], 64),
        (100, [16, 8, 8, 4, 1], [4, 4, 4, 4, 1], 28),
        (7, [6, 3], [4, 4], 8),
        (32, [8, 8, 1], [7, 4, 4], 28),
        (32, [8, 6, 4, 4, 4, 3], [4, 4, 4, 4, 4, 4], 128),
        (16, [8, 8, 3], [4, 2, 6], 16),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_stacks_of_transposed_convolutions_are_read_from_shapes(
    z_dim: int, widths: list[int], kernels: list[int], resolution: int, bias: bool, tmp_path: Path
) -> None:
    network = randomised(dcgan(z_dim, widths, kernels, bias=bias))
    generator = load_generator(stored(network, tmp_path))
    assert (generator.resolution, generator.z_dim) == (resolution, z_dim)
    z = sample_z(generator, 3, seed=1)
    expected = rendered(network, z[:, :, None, None])
    torch.testing.assert_close(generator.synthesize(z), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("widths", "shape"),
    [((64, 32, 784), (1, 28, 28)), ((10, 16, 16, 768), (3, 16, 16)), ((5, 64), (1, 8, 8))],
)
def test_perceptrons_are_read_from_shapes(
    widths: tuple[int, ...], shape: tuple[int, ...], tmp_path: Path
) -> None:
    network = randomised(perceptron(*widths))
    generator = load_generator(stored(network, tmp_path))
    z = sample_z(generator, 3, seed=1)
    expected = rendered(nn.Sequential(network, View(*shape)), z)
    torch.testing.assert_close(generator.synthesize(z), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"netG": state, "netD": {}, "epoch": 3},
        lambda state: {"generator": {f"module.{key}": state[key] for key in state}},
        lambda state: (
            {key.replace("0.", "main.0.", 1): state[key] for key in state}
            and {f"main.{key}": state[key] for key in state}
        ),
    ],
    ids=["training", "parallel", "named"],
)
def test_state_dicts_are_found_inside_training_files(
    wrap: Callable[[Mapping[str, Tensor]], Any], tmp_path: Path
) -> None:
    network = randomised(dcgan(9, [8, 3], [4, 4]))
    generator = load_generator(stored(network, tmp_path, wrap))
    z = sample_z(generator, 2, seed=1)
    expected = rendered(network, z[:, :, None, None])
    torch.testing.assert_close(generator.synthesize(z), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(), nn.Conv2d(8, 1, 4)),
        nn.Sequential(nn.ConvTranspose2d(8, 8, 4), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 3, 4)),
        nn.Sequential(nn.ConvTranspose2d(8, 4, 4), norm(4), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3)),
        nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 64)),
        nn.Sequential(nn.Linear(8, 64), nn.Unflatten(1, (4, 4, 4)), nn.ConvTranspose2d(4, 3, 4)),
    ],
    ids=["discriminator", "no activation", "odd kernel", "linear only", "dense start"],
)
def test_doubtful_shapes_ask_for_a_layout(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give a layout"):
        load_generator(stored(network, tmp_path))

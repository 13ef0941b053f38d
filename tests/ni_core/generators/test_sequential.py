"""The family of plain stacks of operations."""

import dataclasses
import json
from typing import Any

import pytest
import torch

from ni_core.errors import BrokenBundleError, SpaceNotAvailableError
from ni_core.generators import Generator, sample_z
from ni_core.generators.families import build_generator, read_config
from ni_core.generators.protocol import to_synthesis_input
from ni_core.generators.sequential import OPERATIONS, Sequential, SequentialConfig
from ni_core.generators.sequential_shapes import output_shape

ALL: tuple[tuple[Any, ...], ...] = (
    ("linear", 5, 32), ("affine", 32), ("relu",), ("reshape", 2, 4, 4, "HWC"),
    ("upsample", 2, "nearest"), ("conv", 2, 4, 3, 1, 1), ("leaky_relu", 0.2),
    ("conv_transpose", 4, 3, 4, 2, 1), ("affine", 3), ("tanh",), ("crop", 12, 12), ("sigmoid",),
)  # fmt: skip
CONFIG = SequentialConfig(12, 5, ALL, range="unit", prior="uniform")


@pytest.fixture
def generator() -> Sequential:
    torch.manual_seed(0)
    return Sequential(CONFIG).freeze()


def test_every_operation_is_used_in_these_tests() -> None:
    assert {name for name, *_ in ALL} == set(OPERATIONS)


def test_announced_shapes_are_those_that_come_out(generator: Sequential) -> None:
    x = torch.randn(2, 5)
    for index, layer in enumerate(generator.layers):
        x = layer(x)
        assert tuple(x.shape[1:]) == output_shape(5, ALL[: index + 1])


def test_it_is_a_generator_with_z_alone(generator: Sequential) -> None:
    assert isinstance(generator, Generator)
    assert (generator.spaces, generator.num_layers, generator.w_dim) == ({"z"}, 0, 0)
    z = sample_z(generator, 4, seed=0)
    assert float(z.abs().max()) <= 1
    image = generator.synthesize(to_synthesis_input(generator, z, "z"))
    assert image.shape == (4, 3, 12, 12)
    assert image.dtype == torch.float32
    assert -1 <= float(image.min()) < 0 < float(image.max()) <= 1
    for call in (generator.map, generator.broadcast):
        with pytest.raises(SpaceNotAvailableError, match="no space w"):
            call(z)


def test_gradients_reach_z(generator: Sequential) -> None:
    z = sample_z(generator, 2, seed=0).requires_grad_()
    generator.synthesize(z).square().sum().backward()
    assert z.grad is not None
    assert bool((z.grad != 0).any())
    assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_a_configuration_survives_json(generator: Sequential) -> None:
    fields = json.loads(json.dumps(dataclasses.asdict(CONFIG)))
    config = read_config("sequential", fields)
    assert config == CONFIG
    again = build_generator("sequential", config, generator.state_dict())
    z = sample_z(generator, 2, seed=0)
    assert torch.equal(again.synthesize(z), generator.synthesize(z))


@pytest.mark.parametrize(
    ("first", "columns"),
    [
        ((("linear", 4, 64), ("reshape", 1, 8, 8, "CHW")), 64),
        ((("reshape", 4, 1, 1, "CHW"), ("conv_transpose", 4, 1, 8, 1, 0)), 64),
        ((("reshape", 4, 1, 1, "CHW"), ("conv", 4, 3, 1, 1, 0), ("upsample", 8, "nearest")), 3),
    ],
)
def test_style_weights_say_how_z_enters(first: Any, columns: int) -> None:
    generator = Sequential(SequentialConfig(8, 4, first)).freeze()
    weights = generator.style_weights(())
    assert weights.shape == (4, columns)
    z = torch.randn(1, 4)
    moved = generator.synthesize(z + torch.eye(4)) - generator.synthesize(z.expand(4, 4))
    ratios = moved.flatten(1).norm(dim=1) / weights.norm(dim=1)
    torch.testing.assert_close(ratios, ratios[:1].expand(4), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("operations", "meaning"),
    [
        ((("linear", 4, 8),), "not 1 or 3 channels"),
        ((("linear", 4, 64), ("reshape", 1, 8, 8, "WHC")), "order is not"),
        ((("linear", 4, 64), ("reshape", 1, 8, 8, "CHW"), ("crop", 9, 9)), "larger"),
        ((("linear", 3, 64),), "takes \\[3\\]"),
        ((("conv", 4, 4, 3, 1, 1),), "takes 4 channels"),
        ((("eval", "1"),), "there are only"),
        ((("linear", 4, 2**40),), "makes"),
        ((("linear", 4, -64),), "makes"),
        ((("linear", 4, "64"),), "makes"),
        ((("relu",),) * 300, "more than 200"),
    ],
)
def test_operations_that_do_not_fit_are_refused(operations: Any, meaning: str) -> None:
    with pytest.raises(BrokenBundleError, match=meaning):
        SequentialConfig(8, 4, operations)

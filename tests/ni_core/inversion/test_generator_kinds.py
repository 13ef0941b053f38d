"""Inversion of generators without W, with bounded z, with classes, and with a w for every row."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.bundles.memo import Memo
from ni_core.bundles.samples import SAMPLES, sample_latents_z, sample_w
from ni_core.errors import SpaceNotAvailableError
from ni_core.generators import to_synthesis_input
from ni_core.generators.protocol import sample_z
from ni_core.generators.sequential import Sequential, SequentialConfig
from ni_core.generators.stylegan1 import StyleGAN1, StyleGAN1Config
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.inversion import invert
from ni_core.inversion.coordinates import coordinates_of
from ni_core.inversion.starts import mean_starts

LINEAR = (("linear", 8, 768), ("reshape", 3, 16, 16, "CHW"), ("tanh",))
NORMAL = SequentialConfig(16, 8, LINEAR)
CLASSES = StyleGAN2Config(16, 8, 8, 2, (8, 8, 8), num_classes=3)
ROWS = StyleGAN1Config(16, 8, 8, mapping_layers=2, channels=(8, 8, 8), row_mapping=True)
KINDS: dict[str, Callable[[], Any]] = {
    "normal z": lambda: Sequential(NORMAL),
    "uniform z": lambda: Sequential(dataclasses.replace(NORMAL, prior="uniform")),
    "classes": lambda: StyleGAN2(CLASSES),
    "rows": lambda: StyleGAN1(ROWS),
}


def bundle_of(bundle: Bundle, name: str) -> Bundle:
    """A bundle with a random generator of this kind."""
    torch.manual_seed(0)
    generator = KINDS[name]().freeze()
    made = dataclasses.replace(bundle, generator=generator, memo=Memo())
    if generator.num_layers:
        generator.w_avg.copy_(sample_w(made).flatten(0, -2).mean(dim=0))
    return made


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, bundle: Bundle) -> Bundle:
    return bundle_of(bundle, request.param)


def pictures_of(bundle: Bundle) -> Tensor:
    generator = bundle.generator
    with torch.no_grad():
        z = sample_z(generator, 2, seed=5)
        return generator.synthesize(to_synthesis_input(generator, z, "z"))


def test_a_picture_comes_closer_in_the_largest_space(kind: Bundle) -> None:
    targets = pictures_of(kind)
    one, many = (invert(kind, targets, options={"steps": steps}) for steps in (1, 30))
    assert many.latents[0].space == ("w+" if kind.generator.num_layers else "z")
    for before, after in zip(one.metrics, many.metrics, strict=True):
        assert after["mse"] < 0.9 * before["mse"]


def test_bounded_z_stays_within_its_limits(bundle: Bundle) -> None:
    uniform = bundle_of(bundle, "uniform z")
    corner = torch.tensor([[1.0, -1.0] * 4])
    with torch.no_grad():
        targets = uniform.generator.synthesize(corner)
    result = invert(uniform, targets, options={"steps": 40, "learning_rate": 0.5})
    found = result.latents[0].tensor
    assert 0.9 < found.abs().max() <= 1
    torch.testing.assert_close(found.sign(), corner[0])
    assert mean_starts(uniform, targets, "z", 32, 0).abs().max() <= 1
    z = sample_z(uniform.generator, 64, seed=1)
    coordinates = coordinates_of(uniform, "z")
    torch.testing.assert_close(coordinates.to_latents(coordinates.from_latents(z)), z)


def test_beyond_its_limits_a_z_is_thrown_back(bundle: Bundle) -> None:
    """Unlike a squashed one it always has a slope, so it does not get stuck there."""
    coordinates = coordinates_of(bundle_of(bundle, "uniform z"), "z")
    v = torch.tensor([-2.5, -1.25, -0.5, 0.5, 1.25, 2.5, 4.5], requires_grad=True)
    z = coordinates.to_latents(v)
    torch.testing.assert_close(z, torch.tensor([0.5, -0.75, -0.5, 0.5, 0.75, -0.5, 0.5]))
    (slopes,) = torch.autograd.grad(z.sum(), v)
    assert slopes.tolist() == [-1, -1, 1, 1, -1, -1, 1]


@pytest.mark.parametrize("name", ["normal z", "uniform z"])
def test_a_descent_in_z_starts_at_and_near_the_mean(bundle: Bundle, name: str) -> None:
    made = bundle_of(bundle, name)
    first, *others = mean_starts(made, pictures_of(made)[:1], "z", 64, 0)
    assert not first.any()
    samples = sample_z(made.generator, 64, seed=0)
    torch.testing.assert_close(torch.stack(others), 0.3 * samples[1:])


def test_without_w_a_space_of_w_is_refused(bundle: Bundle) -> None:
    with pytest.raises(SpaceNotAvailableError, match=r"'w\+' is not one of this generator's: z"):
        invert(bundle_of(bundle, "normal z"), torch.zeros(1, 3, 16, 16), options={"space": "w+"})


@pytest.mark.parametrize("name", ["classes", "rows"])
def test_mapped_latents_are_white_over_classes_and_rows(bundle: Bundle, name: str) -> None:
    made = bundle_of(bundle, name)
    v = coordinates_of(made, "w+").from_latents(sample_w(made).flatten(0, -2))
    covariance = v.T @ v / len(v)
    torch.testing.assert_close(covariance, torch.eye(8), atol=0.02, rtol=0)


def test_samples_are_those_of_every_class_in_turn(bundle: Bundle) -> None:
    made = bundle_of(bundle, "classes")
    z, w = sample_latents_z(made), sample_w(made)
    assert z.shape == w.shape == (SAMPLES, 8)
    for label in range(3):
        expected = made.generator.map(z[label::3], torch.full((len(z[label::3]),), label))
        torch.testing.assert_close(w[label::3], expected)
    assert sample_w(made) is w
    assert sample_w(bundle_of(bundle, "rows")).shape == (SAMPLES, 6, 8)


@pytest.mark.parametrize(
    ("calibrated", "space", "coefficient", "rate"),
    [(False, "w+", 0.1, 0.2), (False, "z", 0.1, 0.1), (True, "w", 1.0, 0.2), (True, "z", 0.3, 0.1)],
)
def test_defaults_are_those_of_space_and_trunk(
    bundle: Bundle, pictures: Tensor, calibrated: bool, space: str, coefficient: float, rate: float
) -> None:
    trunk = dataclasses.replace(bundle.manifest.trunk, calibrated=calibrated)
    manifest = dataclasses.replace(bundle.manifest, trunk=trunk)
    made = dataclasses.replace(bundle, manifest=manifest)
    options = {"steps": 3, "starts": 1, "space": space}
    usual = invert(made, pictures, options=options)
    given = {"lpips_coefficient": coefficient, "learning_rate": rate}
    told = invert(made, pictures, options={**options, **given})
    assert usual.history == told.history

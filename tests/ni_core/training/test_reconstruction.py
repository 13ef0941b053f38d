from dataclasses import replace

import pytest
import torch

from ni_core.bundles import load_bundle
from ni_core.generators.stylegan2 import StyleGAN2
from ni_core.perceptual import Perceptual
from ni_core.training.adversary import ProjectedCritic
from ni_core.training.picture_set import FreshPictures
from ni_core.training.precision import working_type
from ni_core.training.recipes import SETTINGS
from ni_core.training.reconstruction import Descents, Reconstruction
from ni_core.training.regressor import Regressor

CPU = torch.device("cpu")
RECIPE = replace(
    SETTINGS["tiny"].recipe, reconstructed=2, descents=2, descent_steps=20, descent_rate=0.2
)


@pytest.fixture(scope="module")
def perceptual() -> Perceptual:
    return load_bundle("portraits").perceptual


@pytest.fixture
def generator() -> StyleGAN2:
    torch.manual_seed(3)
    return StyleGAN2(SETTINGS["tiny"].config)


@pytest.fixture
def reconstruction(generator: StyleGAN2, perceptual: Perceptual) -> Reconstruction:
    rows = (generator.num_layers, generator.w_dim)
    critic = ProjectedCritic(Regressor(32).freeze().to(working_type(CPU)))
    return Reconstruction(RECIPE, rows, perceptual, critic, CPU)


def test_descents_come_nearer_to_their_pictures_even_if_the_generator_stays(
    reconstruction: Reconstruction, generator: StyleGAN2
) -> None:
    generator.requires_grad_(False)
    pictures = FreshPictures(seed=1, resolution=32, length=2)
    random = torch.Generator().manual_seed(0)
    terms = [reconstruction.add_gradients(generator, pictures, step, random) for step in range(20)]
    assert terms[-1]["real_mse"] < 0.8 * terms[0]["real_mse"]
    assert terms[-1]["real_lpips"] < terms[0]["real_lpips"]
    assert (reconstruction.descents.done == 20).all()


def test_the_generator_comes_nearer_to_the_pictures_at_the_same_codes(
    reconstruction: Reconstruction, generator: StyleGAN2
) -> None:
    pictures = FreshPictures(seed=1, resolution=32, length=2)
    random = torch.Generator().manual_seed(0)
    reconstruction.add_gradients(generator, pictures, 0, random)
    codes, numbers = reconstruction.descents.codes.clone(), reconstruction.descents.numbers
    targets = pictures.take(numbers, CPU)
    before = (generator.synthesize(codes) - targets).square().mean()
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.grad is not None:
                parameter -= 1e-4 * parameter.grad
    after = (generator.synthesize(codes) - targets).square().mean()
    assert after < before
    assert all(p.grad is None for p in generator.mapping.parameters())


def test_a_descent_that_is_over_gives_its_place_to_another_picture_at_the_mean(
    generator: StyleGAN2,
) -> None:
    descents = Descents(RECIPE, (generator.num_layers, generator.w_dim), CPU)
    random = torch.Generator().manual_seed(0)
    descents.measure_spread(generator, random)
    chosen = descents.pick(2, 1000, random)
    first = descents.numbers.clone()
    for _ in range(RECIPE.descent_steps):
        assert torch.equal(descents.numbers, first)
        descents.pick(2, 1000, random)
        descents.move(chosen, torch.ones_like(descents.codes))
    assert not torch.allclose(descents.codes, descents.mean.expand_as(descents.codes))
    descents.pick(2, 1000, random)
    assert not (descents.numbers == first).any()
    assert torch.equal(descents.codes, descents.mean.expand_as(descents.codes))
    assert not descents.first.any() and not descents.done.any()


@pytest.mark.parametrize("slots", [1, 3])
def test_a_run_with_another_number_of_descents_goes_on_with_those_there_are(
    generator: StyleGAN2, slots: int
) -> None:
    rows = (generator.num_layers, generator.w_dim)
    random = torch.Generator().manual_seed(0)
    earlier = Descents(RECIPE, rows, CPU)
    earlier.measure_spread(generator, random)
    earlier.move(earlier.pick(2, 1000, random), torch.ones_like(earlier.codes))
    resumed = Descents(replace(RECIPE, descents=slots, descent_steps=40), rows, CPU)
    resumed.resume(earlier.tensors())
    there = min(slots, 2)
    for name in ("codes", "first", "second", "numbers", "done"):
        assert torch.equal(getattr(resumed, name)[:there], getattr(earlier, name)[:there])
    assert resumed.done.tolist() == [1, 1, 40][:slots]
    assert torch.equal(resumed.basis, earlier.basis)

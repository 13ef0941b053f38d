"""What an inversion cannot do, it refuses with the value and the limit."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.errors import (
    InvalidImageError,
    InvalidLatentError,
    InvalidOptionError,
    InversionDivergedError,
    SpaceNotAvailableError,
    UnknownMethodError,
)
from ni_core.generators import latent_shape
from ni_core.inversion import invert, resolve_method


@pytest.mark.parametrize("options", [{"learning_rate": 1e3, "optimizer": "sgd"}])
def test_a_descent_that_leaves_the_finite_numbers_is_an_error(
    bundle: Bundle, pictures: Tensor, options: dict[str, object]
) -> None:
    far = torch.full((4, *latent_shape(bundle.generator, "w+")), 3e38)
    with pytest.raises(InversionDivergedError, match="image 0 is not finite at step 1") as caught:
        invert(bundle, pictures, options=options, start=far)
    assert caught.value.details == {"step": 1, "image": 0}


@pytest.mark.parametrize(
    "options",
    [
        {"mse_coefficient": 0, "lpips_coefficient": 0, "features_coefficient": 0},
        {"lpips_coefficient": 0, "target_lpips": 0.1},
    ],
)
def test_options_that_contradict_each_other_are_refused(
    bundle: Bundle, pictures: Tensor, options: dict[str, object]
) -> None:
    with pytest.raises(InvalidOptionError, match="lpips_coefficient"):
        invert(bundle, pictures, options=options)


@pytest.mark.parametrize("shape", [(3, 16, 16), (0, 3, 16, 16), (1, 1, 16, 16), (1, 3, 8, 8)])
def test_images_that_do_not_fit_are_refused(bundle: Bundle, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidImageError, match=r"takes \[n, 3, 16, 16\]"):
        invert(bundle, torch.zeros(shape))


def test_images_and_starts_that_are_not_finite_are_refused(
    bundle: Bundle, pictures: Tensor
) -> None:
    with pytest.raises(InvalidImageError, match="not finite"):
        invert(bundle, torch.full((1, 3, 16, 16), math.nan))
    start = torch.full((4, *latent_shape(bundle.generator, "w+")), math.nan)
    with pytest.raises(InvalidLatentError, match="not finite"):
        invert(bundle, pictures, start=start)
    with pytest.raises(InvalidLatentError, match=r"4 images in w take \[4, 32\]"):
        invert(bundle, pictures, options={"space": "w"}, start=start)


def test_a_first_step_beyond_the_steps_is_refused(bundle: Bundle, pictures: Tensor) -> None:
    with pytest.raises(InvalidOptionError, match="first_step is 6, but must be from 0 to steps, 5"):
        invert(bundle, pictures, options={"steps": 5}, first_step=6)


def test_a_space_the_generator_lacks_is_refused(bundle: Bundle, pictures: Tensor) -> None:
    generator = copy.copy(bundle.generator)
    generator.spaces = frozenset({"z"})
    only_z = dataclasses.replace(bundle, generator=generator)
    with pytest.raises(SpaceNotAvailableError, match="'w' is not one of this generator's: z"):
        invert(only_z, pictures, options={"space": "w"})


def test_an_unknown_or_unavailable_method_names_the_available_ones(bundle: Bundle) -> None:
    with pytest.raises(UnknownMethodError, match="'magic' is not one of those of tiny: auto, opt"):
        resolve_method("magic", bundle)
    with pytest.raises(UnknownMethodError, match="'auto' is not one of those of bare: auto"):
        resolve_method("auto", {"name": "bare", "methods": []})

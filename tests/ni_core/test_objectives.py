"""The terms of the loss equal their definitions and keep images apart."""

import pytest
import torch

from ni_core.metrics import mse
from ni_core.objectives import Objective, noise_regularity
from ni_core.perceptual import Perceptual
from tests.ni_core.trunks import random_images


def test_the_loss_is_the_weighed_sum_of_squared_error_and_lpips(squeeze: Perceptual) -> None:
    images, targets = random_images(3, 32), random_images(3, 32, seed=1)
    objective = Objective.towards(targets, squeeze, mse_coefficient=2.0, lpips_coefficient=0.5)
    loss, lpips = objective(images)
    expected = squeeze(images, targets)
    torch.testing.assert_close(lpips, expected)
    torch.testing.assert_close(loss, 2 * mse(images, targets) + 0.5 * expected)


def test_without_an_lpips_coefficient_the_trunk_does_not_run(squeeze: Perceptual) -> None:
    images, targets = random_images(1, 32), random_images(1, 32, seed=1)
    objective = Objective.towards(targets, squeeze, mse_coefficient=1.0, lpips_coefficient=0.0)
    loss, lpips = objective(images)
    assert lpips is None
    torch.testing.assert_close(loss, mse(images, targets))


def test_repeated_targets_follow_each_other(squeeze: Perceptual) -> None:
    images, targets = random_images(4, 32), random_images(2, 32, seed=1)
    objective = Objective.towards(targets, squeeze, mse_coefficient=1.0, lpips_coefficient=1.0)
    loss, _ = objective.repeated(2)(images)
    expected, _ = Objective.towards(
        targets[[0, 0, 1, 1]], squeeze, mse_coefficient=1.0, lpips_coefficient=1.0
    )(images)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("side", [4, 8, 64])
def test_white_noise_is_more_regular_than_a_pattern(side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(8, 1, side, side, generator=generator)
    stripes = torch.ones(8, 1, side, side)
    stripes[..., ::2] = -1
    assert noise_regularity([white]).mean() < 0.3
    assert (noise_regularity([stripes]) >= 2).all()


def test_noise_regularity_equals_its_definition_on_two_scales() -> None:
    noise = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    half = noise.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5)) * 2
    expected = sum(
        (scale * torch.cat([scale[..., -1:], scale[..., :-1]], dim=-1)).mean() ** 2
        + (scale * torch.cat([scale[..., -1:, :], scale[..., :-1, :]], dim=-2)).mean() ** 2
        for scale in (noise, half)
    )
    torch.testing.assert_close(noise_regularity([noise])[0], torch.as_tensor(expected))


def test_each_noise_map_of_a_batch_counts_for_its_own_image() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(3, 1, side, side, generator=generator) for side in (4, 16)]
    together = noise_regularity(maps)
    for index in range(3):
        alone = noise_regularity([noise[index : index + 1] for noise in maps])
        torch.testing.assert_close(together[index : index + 1], alone)

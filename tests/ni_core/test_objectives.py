"""The terms of the loss equal their definitions and keep images apart."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ni_core.encoders.frozen import FeaturesConfig, FrozenFeatures
from ni_core.metrics import mse
from ni_core.objectives import Coefficients, Objective, noise_regularity
from ni_core.perceptual import Perceptual
from ni_core.views import View, first_views
from tests.ni_core.trunks import random_images


def towards(
    targets: Tensor,
    squeeze: Perceptual,
    coefficients: Coefficients,
    views: Sequence[View] = (View(),),
) -> tuple[Objective, FrozenFeatures]:
    """The objective, and the feature network in it."""
    torch.manual_seed(0)
    network = FrozenFeatures(FeaturesConfig(side=16, widths=(4, 6, 8))).freeze()
    objective = Objective.towards(
        targets, coefficients, lpips=squeeze.features, features=network.embedding, views=views
    )
    return objective, network


def test_the_loss_is_the_weighed_sum_of_squared_error_lpips_and_features(
    squeeze: Perceptual,
) -> None:
    images, targets = random_images(3, 32), random_images(3, 32, seed=1)
    objective, network = towards(targets, squeeze, Coefficients(2.0, 0.5, 0.25))
    loss, lpips = objective(images)
    expected = squeeze(images, targets)
    torch.testing.assert_close(lpips, expected)
    found, wanted = network.maps(images), network.maps(targets)
    cosines = [
        torch.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)
        for a, b in zip(found, wanted, strict=True)
    ]
    features = (2 - 2 * torch.stack(cosines)).mean(dim=0)
    torch.testing.assert_close(loss, 2 * mse(images, targets) + 0.5 * expected + 0.25 * features)


def test_a_term_without_a_coefficient_is_not_computed(squeeze: Perceptual) -> None:
    images, targets = random_images(1, 32), random_images(1, 32, seed=1)
    objective, _ = towards(targets, squeeze, Coefficients(1.0, 0.0, 0.0))
    loss, lpips = objective(images)
    assert lpips is None and objective.lpips is None and objective.features is None
    torch.testing.assert_close(loss, mse(images, targets))


def test_features_alone_are_compared_in_the_view_asked_for(squeeze: Perceptual) -> None:
    images, targets = random_images(2, 32), random_images(2, 32, seed=1)
    views = first_views(3)
    objective, network = towards(targets, squeeze, Coefficients(1.0, 1.0, 1.0), views)
    assert objective.view_count == 3
    others = mse(images, targets) + squeeze(images, targets)
    for view, seen in enumerate(views):
        features = network.embedding(seen.of(images)) - network.embedding(seen.of(targets))
        loss, lpips = objective(images, view)
        torch.testing.assert_close(loss, others + features.square().sum(dim=1))
        torch.testing.assert_close(lpips, squeeze(images, targets))


def test_there_is_one_view_where_no_features_are_compared(squeeze: Perceptual) -> None:
    targets = random_images(1, 32)
    objective, _ = towards(targets, squeeze, Coefficients(1.0, 1.0, 0.0), first_views(3))
    assert objective.view_count == 1


def test_repeated_targets_follow_each_other(squeeze: Perceptual) -> None:
    images, targets = random_images(4, 32), random_images(2, 32, seed=1)
    all_terms = Coefficients(1.0, 1.0, 1.0)
    views = first_views(2)
    repeated = towards(targets, squeeze, all_terms, views)[0].repeated(2)
    expected = towards(targets[[0, 0, 1, 1]], squeeze, all_terms, views)[0]
    for view in range(2):
        torch.testing.assert_close(repeated(images, view)[0], expected(images, view)[0])


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

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ni_core.evaluation.distances import (
    RandomFeatures,
    frechet_distance,
    precision_recall,
    sharpness,
    spread_ratio,
)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6))
def test_identical_sets_are_at_no_distance_and_cover_each_other(seed: int, d: int) -> None:
    features = torch.randn(40, d, generator=torch.Generator().manual_seed(seed))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert precision_recall(features, features) == (1.0, 1.0)


def test_a_shift_costs_its_square() -> None:
    features = torch.randn(500, 3)
    moved = features + torch.tensor([3.0, 4.0, 0.0])
    assert frechet_distance(features, moved) == pytest.approx(25, rel=1e-4)


def test_a_scale_costs_the_square_of_the_difference_of_deviations() -> None:
    features = torch.randn(20_000, 1)
    features = (features - features.mean()) / features.std()
    assert frechet_distance(features, 3 * features) == pytest.approx(4, rel=1e-4)


def test_a_collapsed_generator_has_precision_without_recall() -> None:
    real = torch.randn(400, 4)
    collapsed = real[:1] + 0.001 * torch.randn(400, 4)
    precision, recall = precision_recall(real, collapsed)
    assert precision == 1
    assert recall < 0.02


def test_a_wild_generator_has_recall_without_precision() -> None:
    torch.manual_seed(0)
    real = 0.1 * torch.randn(400, 4)
    precision, recall = precision_recall(real, 5 * torch.randn(400, 4))
    assert precision < 0.02
    assert recall > 0.5


def test_random_features_depend_on_the_seed_alone() -> None:
    pictures = torch.randn(2, 3, 64, 64)
    assert torch.equal(RandomFeatures(1)(pictures), RandomFeatures(1)(pictures))
    assert not torch.equal(RandomFeatures(1)(pictures), RandomFeatures(2)(pictures))
    assert RandomFeatures()(pictures).shape == (2, 640)


def test_blur_lowers_sharpness() -> None:
    pictures = torch.randn(4, 3, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(pictures, 3, 1, 1)
    assert sharpness(blurred) < 0.5 * sharpness(pictures)


def test_the_spread_of_half_the_values_is_half() -> None:
    values = torch.randn(100, 3)
    torch.testing.assert_close(spread_ratio(values, values / 2), torch.full((3,), 0.5))

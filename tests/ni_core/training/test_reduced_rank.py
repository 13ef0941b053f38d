"""Reduced-rank regression: what it finds, and what a low rank keeps."""

import pytest
import torch
from torch import Tensor

from ni_core.training.reduced_rank import PENALTIES, fit_low_rank


def pairs(noise: float, rank: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Features, targets, and the map between them, of a low rank."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(600, 12, generator=random)
    weight = torch.randn(12, rank, generator=random) @ torch.randn(rank, 8, generator=random)
    noises = torch.randn(600, 8, generator=random)
    return features, features @ weight + 0.5 + noise * noises, weight


def test_a_map_of_low_rank_is_found() -> None:
    features, targets, weight = pairs(0.0)
    fit = fit_low_rank(features, targets, rank=3)
    torch.testing.assert_close((fit.outer @ fit.inner).T, weight, atol=0.05, rtol=0.05)
    torch.testing.assert_close(fit.bias, targets[:540].mean(dim=0))
    assert fit.penalty == min(PENALTIES)
    assert fit.determination > 0.99


def test_noise_asks_for_a_penalty() -> None:
    features, targets, _ = pairs(30.0)
    fit = fit_low_rank(features, targets, rank=3)
    assert fit.penalty == max(PENALTIES)
    assert fit.determination < 0.3


@pytest.mark.parametrize("rank", [1, 2])
def test_a_lower_rank_keeps_what_varies_most(rank: int) -> None:
    features, targets, weight = pairs(0.0)
    fit = fit_low_rank(features, targets, rank=rank)
    assert (fit.inner.shape, fit.outer.shape) == ((rank, 12), (8, rank))
    left = (features @ weight - features @ fit.inner.T @ fit.outer.T).square().mean()
    best = torch.linalg.svdvals(features @ weight)[rank:].square().sum() / targets.numel()
    assert left.item() == pytest.approx(best.item(), rel=0.1)


def test_half_precision_features_will_do() -> None:
    features, targets, _ = pairs(0.1)
    one, other = (fit_low_rank(x, targets, rank=3) for x in (features, features.half()))
    assert one.determination == pytest.approx(other.determination, abs=1e-3)

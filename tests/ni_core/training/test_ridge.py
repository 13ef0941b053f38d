import torch

from ni_core.training.ridge import PENALTIES, fit_ridge


def data(n: int, noise: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 20, generator=random)
    features = torch.randn(n, 20, generator=random)
    targets = features @ weight.T + 0.5 + noise * torch.randn(n, 3, generator=random)
    return features, targets, weight


def test_a_linear_map_is_found_again() -> None:
    features, targets, weight = data(600, 0.0)
    fit = fit_ridge(features, targets)
    torch.testing.assert_close(fit.weight, weight, atol=0.05, rtol=0)
    torch.testing.assert_close(fit.bias, torch.full((3,), 0.5), atol=0.3, rtol=0)
    assert fit.penalty == PENALTIES[0]
    assert fit.determination > 0.98


def test_the_noisier_the_targets_the_larger_the_penalty() -> None:
    clean, noisy = fit_ridge(*data(60, 0.1)[:2]), fit_ridge(*data(60, 20.0)[:2])
    assert noisy.penalty > clean.penalty
    assert noisy.determination < clean.determination


def test_its_weights_are_those_of_the_textbook() -> None:
    features, targets, _ = data(60, 1.0)
    fit = fit_ridge(features, targets)
    known = torch.arange(60) % 10 != 0
    x, y = features[known], targets[known] - targets[known].mean(dim=0)
    ridge = fit.penalty * x.square().sum(dim=1).mean() * torch.eye(20)
    torch.testing.assert_close(fit.weight, torch.linalg.solve(x.T @ x + ridge, x.T @ y).T)

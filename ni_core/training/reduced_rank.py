"""The best linear map of low rank from features to latents, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Tried one after another: added to the diagonal of the features' covariance, the mean of which is
about 1."""

HELD_OUT = 10
"""One of so many parts of the pairs tells which penalty is best."""

BLOCK = 2048
"""Pairs worked on at once."""


@dataclass(frozen=True)
class LowRankFit:
    """A linear map through few numbers.

    Attributes:
        inner: `[rank, features]`.
        outer: `[outputs, rank]`.
        bias: `[outputs]`.
        penalty: The best one.
        determination: R² of the map of full rank on what was held out.
    """

    inner: Tensor
    outer: Tensor
    bias: Tensor
    penalty: float
    determination: float


def fit_low_rank(
    features: Float[Tensor, "n d"], targets: Float[Tensor, "n o"], *, rank: int
) -> LowRankFit:
    """Fit by ridge regression, then keep the directions in which predictions vary most.

    Args:
        features: Of any precision, of mean about 0 and variance about 1.
        targets: Of mean about 0.
        rank: Numbers the map goes through, at most `d` and `o`.

    Source: reduced-rank regression (Izenman 1975), with a ridge penalty.
    """
    kept = len(features) - len(features) // HELD_OUT
    covariance, products = _moments(features[:kept], targets[:kept])
    bias = targets[:kept].mean(dim=0)
    fits = []
    for penalty in PENALTIES:
        ridge = covariance + penalty * torch.eye(len(covariance), device=covariance.device)
        weight = torch.cholesky_solve(products, torch.linalg.cholesky(ridge))
        explained = _determination(features[kept:], targets[kept:], weight, bias)
        fits.append((explained, penalty, weight))
    determination, penalty, weight = max(fits, key=lambda fit: fit[0])
    _, directions = torch.linalg.eigh((weight.T @ covariance @ weight).double())
    outer = directions[:, -rank:].flip(1).float()
    inner = (weight @ outer).T.contiguous()
    return LowRankFit(inner, outer.contiguous(), bias, penalty, determination)


def _moments(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean products of the features with themselves `[d, d]` and with the targets `[d, o]`."""
    width, outputs = features.shape[1], targets.shape[1]
    covariance = torch.zeros(width, width, device=targets.device)
    products = torch.zeros(width, outputs, device=targets.device)
    middle = targets.mean(dim=0)
    for x, y in _blocks(features, targets):
        covariance.addmm_(x.T, x)
        products.addmm_(x.T, y - middle)
    return covariance / len(features), products / len(features)


def _determination(features: Tensor, targets: Tensor, weight: Tensor, bias: Tensor) -> float:
    wrong = sum(
        float((x @ weight + bias - y).square().sum()) for x, y in _blocks(features, targets)
    )
    return 1 - wrong / float((targets - bias).square().sum())


def _blocks(features: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for x, y in zip(features.split(BLOCK), targets.split(BLOCK), strict=True):
        yield x.float(), y

"""Ridge regression: the best linear reading of features, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Tried one after another, as parts of the features' mean squared length."""

HELD_OUT = 10
"""Every so manieth picture tells which penalty is best."""


@dataclass(frozen=True)
class Fit:
    """A linear reading.

    Attributes:
        weight: `[outputs, features]`.
        bias: `[outputs]`.
        penalty: The best one.
        determination: R² on what was held out.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    determination: float


def fit_ridge(features: Float[Tensor, "n f"], targets: Float[Tensor, "n t"]) -> Fit:
    """Find the linear map from features to targets, with the penalty that generalises best.

    Solved in the space of the pictures, of which there may be fewer than features.

    Args:
        features: Standardised.
        targets: What is to be read, of mean about 0.
    """
    out = torch.arange(len(features), device=features.device) % HELD_OUT == 0
    known, wanted = features[~out], targets[~out]
    mean = wanted.mean(dim=0)
    gram = known @ known.T
    length = gram.diagonal().mean()
    fits = []
    for penalty in PENALTIES:
        ridge = gram + penalty * length * torch.eye(len(gram), device=gram.device)
        dual = torch.cholesky_solve(wanted - mean, torch.linalg.cholesky(ridge))
        weight = (known.T @ dual).T.contiguous()
        wrong = (features[out] @ weight.T + mean - targets[out]).square().sum()
        unexplained = wrong / (targets[out] - mean).square().sum()
        fits.append(Fit(weight, mean, penalty, 1 - float(unexplained)))
    return max(fits, key=lambda fit: fit.determination)

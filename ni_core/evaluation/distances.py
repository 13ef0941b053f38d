"""How far one set of pictures is from another, given features of both."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

NEIGHBOURS = 3
"""k of the k-nearest-neighbour manifolds, as in the paper."""

RANDOM_WIDTHS = (32, 64, 96, 128)
"""Channels of the random features' layers, each at half the side of the one before."""


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """Squared Fréchet distance between Gaussians fitted to two sets of features.

    |m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½); the root's trace is taken from the eigenvalues
    of S1^½ S2 S1^½, which is symmetric. In double precision.

    Args:
        features: `[n, d]`, n > 1.
        others: `[m, d]`, m > 1.

    Returns:
        0 for sets of equal mean and covariance. Small sets are biased upwards: compare
        with two real sets of the same size.

    Source: arXiv:1706.08500.
    """
    features, others = features.double(), others.double()
    first, second = (torch.atleast_2d(torch.cov(x.T)) for x in (features, others))
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    means = (features.mean(dim=0) - others.mean(dim=0)).square().sum()
    return float(means + first.trace() + second.trace() - 2 * cross)


def precision_recall(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of generated pictures near real ones, and of real ones near generated ones.

    A picture counts as near a set if it lies within the distance from some member of the
    set to that member's k-th nearest neighbour in its own set.

    Args:
        real: Features `[n, d]`, n > k.
        generated: Features `[m, d]`, m > k.
        k: Which neighbour gives the radius.

    Returns:
        Precision and recall, both in [0, 1].

    Source: arXiv:1904.06991.
    """
    real, generated = real.float(), generated.float()
    across = torch.cdist(generated, real)
    near_real = (across <= _radii(real, k)[None, :]).any(dim=1)
    near_generated = (across <= _radii(generated, k)[:, None]).any(dim=0)
    return float(near_real.float().mean()), float(near_generated.float().mean())


def _radii(features: Tensor, k: int) -> Tensor:
    """Distance of each row to its k-th nearest neighbour, not counting itself, `[n]`."""
    distances = torch.cdist(features, features)
    distances.fill_diagonal_(0)
    return distances.kthvalue(k + 1, dim=1).values


class RandomFeatures(nn.Module):
    """Features of a fixed random network: nothing was trained on them or against them.

    Four 3x3 convolutions of stride 2 with He-initialised weights and leaky ReLUs
    (slope 0.2), no biases; the features are mean and standard deviation over positions
    of every channel of every layer.

    Args:
        seed: Of the weights.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        weights = []
        for inputs, outputs in zip((3, *RANDOM_WIDTHS), RANDOM_WIDTHS, strict=False):
            weight = torch.randn(outputs, inputs, 3, 3, generator=random)
            weights.append(weight * (2 / (9 * inputs)) ** 0.5)
        self.weights = nn.ParameterList(nn.Parameter(w, requires_grad=False) for w in weights)

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> Tensor:
        """Features `[n, 640]` of pictures `[n, 3, h, w]` in [-1, 1]."""
        features, x = [], pictures
        for weight in self.weights:
            x = functional.leaky_relu(functional.conv2d(x, weight, stride=2, padding=1), 0.2)
            features += [x.mean(dim=(2, 3)), x.flatten(2).std(dim=2)]
        return torch.cat(features, dim=1)


def sharpness(pictures: Tensor) -> float:
    """Mean absolute Laplacian of the brightness of pictures `[n, 3, h, w]` in [-1, 1]."""
    grey = pictures.mean(dim=1, keepdim=True)
    kernel = pictures.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return float(functional.conv2d(grey, kernel).abs().mean())


def spread_ratio(real: Tensor, generated: Tensor) -> Tensor:
    """Standard deviation of each column, generated over real, `[d]`; 1 = as varied."""
    return generated.std(dim=0) / real.std(dim=0)

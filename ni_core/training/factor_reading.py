"""How much frozen features tell of the known factors: a linear reading, in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ni_core.encoders.frozen import FrozenFeatures
from ni_core.training.picture_set import Pictures
from ni_core.training.portraits import FACTOR_NAMES, factors_at
from ni_core.training.regressor import standards

TESTED = 3
"""Every so many-th picture is kept for the test."""

BATCH = 64
"""Pictures worked on at once."""

RIDGE = 1e-3
"""Added to the diagonal of the features' correlations."""


def linear_reading(features: FrozenFeatures, pictures: Pictures, n: int) -> dict[str, Any]:
    """R² of every factor, read by ridge regression from the features of renders.

    Args:
        features: The network.
        pictures: Renders that it was not trained on.
        n: How many of them; a third is kept out of the fit and gives the figures.

    Returns:
        Of `vector`, and of `maps`, all inner maps averaged over positions: the `mean` over the
        factors, and R² by `factors`.
    """
    indices = torch.arange(n)
    mean, std = standards()
    truth = ((factors_at(pictures.seed, indices) - mean) / std).double()
    vectors, maps = _read(features, pictures, indices)
    return {"vector": _scores(vectors, truth), "maps": _scores(maps, truth)}


def _scores(read: Tensor, truth: Tensor) -> dict[str, Any]:
    tested = torch.arange(len(truth)) % TESTED == 0
    found = ridge(read[~tested], truth[~tested], read[tested])
    unexplained = (found - truth[tested]).square().mean(dim=0) / truth[tested].var(dim=0)
    scores = (1 - unexplained).tolist()
    return {
        "mean": round(sum(scores) / len(scores), 3),
        "factors": {name: round(v, 3) for name, v in zip(FACTOR_NAMES, scores, strict=True)},
    }


def ridge(inputs: Tensor, outputs: Tensor, asked: Tensor) -> Tensor:
    """Fit outputs `[n, o]` linearly to inputs `[n, d]` and apply that to `asked` `[m, d]`."""
    mean, std = inputs.mean(dim=0), inputs.std(dim=0) + 1e-6
    x = (inputs - mean) / std
    correlations = x.T @ x / len(x) + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    offset = outputs.mean(dim=0)
    weights = torch.linalg.solve(correlations, x.T @ (outputs - offset) / len(x))
    found: Tensor = (asked - mean) / std @ weights + offset
    return found


@torch.no_grad()
def _read(features: FrozenFeatures, pictures: Pictures, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors, and all maps averaged over positions."""
    features.eval()
    vectors, averages = [], []
    for part in indices.split(BATCH):
        maps, vector = features.maps_and_vector(pictures.take(part, features.device))
        vectors.append(vector.double().cpu())
        means = [one.mean(dim=(2, 3)) for one in maps]
        averages.append(torch.cat(means, dim=1).double().cpu())
    return torch.cat(vectors), torch.cat(averages)

"""How far a direction may be followed before the latent leaves what the generator knows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.bundles.samples import sample_w
from ni_core.generators.protocol import Prior

DEVIATIONS = 3.0
"""The safe range ends at so many standard deviations of the latents along the direction."""

_PRIOR_DEVIATION: Mapping[Prior, float] = {"normal": 1.0, "uniform": 3**-0.5}
"""Standard deviation of z along any unit vector."""


def safe_range(deviation: float) -> tuple[float, float]:
    """Range of weights, low and high, around latents of this standard deviation."""
    return (-DEVIATIONS * deviation, DEVIATIONS * deviation)


def z_deviation(bundle: Bundle) -> float:
    """Standard deviation of z along any unit vector, by the generator's prior."""
    return _PRIOR_DEVIATION[bundle.generator.prior]


def w_deviations(bundle: Bundle, vectors: Tensor, layers: tuple[int, ...]) -> list[float]:
    """Standard deviation of W along each vector, in units of weight.

    Of a direction with a vector for each row it is the root of the mean variance over the rows it
    moves, each counting by the square of its length. It is 1 where no w can be drawn, because the
    generator has no z.

    Args:
        bundle: Whose W it is.
        vectors: `[k, w_dim]`, or `[k, num_layers, w_dim]`.
        layers: The rows that are moved.
    """
    if "z" not in bundle.generator.spaces:
        return [1.0] * len(vectors)
    rows = list(layers)
    moved = vectors[None] if vectors.dim() == 2 else vectors.transpose(0, 1)[rows]
    moved = moved.double()  # [rows or 1, k, w_dim]
    covariances = _covariances(bundle)
    if len(covariances) > 1:
        covariances = covariances[rows]
    variances = ((moved @ covariances) * moved).sum(dim=-1).mean(dim=0)
    squares = moved.square().sum(dim=-1).mean(dim=0)
    return (variances / squares.clamp_min(1e-12)).clamp_min(0).sqrt().tolist()


def _covariances(bundle: Bundle) -> Tensor:
    """Covariance of W, `[1, w_dim, w_dim]`, or of each row where the mapping makes rows."""

    def compute() -> Tensor:
        w = sample_w(bundle)
        rows = [w] if w.dim() == 2 else w.unbind(dim=1)
        return torch.stack([torch.cov(row.double().T) for row in rows])

    return bundle.memo.get("w covariance", compute)

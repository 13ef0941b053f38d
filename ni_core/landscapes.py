"""θ of landscape learning: from a space in which plain gradient descent is fast to W+.

Source: Landscape Learning for Neural Network Inversion, arXiv:2206.09027. Differs: θ is a linear
map with a residual network inside; it also holds where a descent starts and the learning rate of
each step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ni_core.errors import BrokenBundleError
from ni_core.generators.unfilled import fields_of, unfilled

FAMILY = "residual"
"""Name of the only architecture of θ."""


@dataclass(frozen=True)
class LandscapeConfig:
    """Configuration of θ.

    Attributes:
        num_layers: Rows of W+.
        w_dim: Size of each.
        dimensions: Size of the space that is searched.
        hidden: Width of the residual network.
        steps: Steps that have a learning rate of their own.
    """

    num_layers: int
    w_dim: int
    dimensions: int
    hidden: int
    steps: int = 20


class Landscape(nn.Module):
    """θ: `w_plus = start + (v + residual(v)) @ basis`, with `v = scale * u`.

    A gradient in u is that in W+ through the transposed map, so the linear part alone makes plain
    descent in u a preconditioned one in W+. A descent starts at u = 0.
    """

    def __init__(self, config: LandscapeConfig) -> None:
        super().__init__()
        self.config = config
        k, hidden = config.dimensions, config.hidden
        self.start = nn.Parameter(torch.zeros(config.num_layers, config.w_dim))
        self.basis = nn.Parameter(torch.zeros(k, config.num_layers * config.w_dim))
        self.log_scale = nn.Parameter(torch.zeros(k))
        self.log_rates = nn.Parameter(torch.zeros(config.steps))
        self.residual = nn.Sequential(
            nn.Linear(k, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, k),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.start.device

    def freeze(self) -> Self:
        """Set up for inference: gradients flow to u only."""
        return self.eval().requires_grad_(False)

    def forward(self, u: Float[Tensor, "n k"]) -> Float[Tensor, "n num_layers w_dim"]:
        """Map points of the searched space to W+; differentiable."""
        v = u * self.log_scale.exp()
        offsets = (v + self.residual(v)) @ self.basis
        rows: Tensor = self.start + offsets.unflatten(1, self.start.shape)
        return rows

    def origin(self, n: int) -> Float[Tensor, "n k"]:
        """Where n descents start: u = 0."""
        return self.start.new_zeros(n, self.config.dimensions)

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 1; later ones have that of the last."""
        index = min(step, self.config.steps) - 1
        return math.exp(float(self.log_rates[index].detach()))


def build_landscape(
    family: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Landscape:
    """Build a frozen θ around tensors.

    Args:
        family: `residual`.
        fields: Those of `LandscapeConfig`.
        tensors: Every parameter, by its name in `Landscape`.

    Raises:
        BrokenBundleError: The family is unknown, or fields or tensors do not fit it.
    """
    if family != FAMILY:
        raise BrokenBundleError(
            f"landscape family {family!r} is not {FAMILY}", value=family, limit=[FAMILY]
        )
    try:
        with unfilled():
            network = Landscape(LandscapeConfig(**fields_of(fields)))
        network.load_state_dict(tensors, strict=True, assign=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BrokenBundleError(f"the landscape cannot be read: {error}") from error
    return network.freeze()

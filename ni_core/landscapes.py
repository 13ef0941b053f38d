"""θ of landscape learning: from a space in which plain gradient descent is fast to W+.

Source: Landscape Learning for Neural Network Inversion, arXiv:2206.09027. Differs: θ is a linear
map with a residual network inside; it also holds where a descent starts and the learning rate of
each step; and half of its space remembers the first gradient, see `RememberingLandscape`.
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

_SMALL = 1e-4
"""Length of a memory below which it counts as empty; a first gradient is some 1e5 times as long."""

_TRACE = 1e-2
"""How far a full memory itself moves the latent, in lengths of `reading`. It must move it a little,
or no gradient would ever reach it."""


@dataclass(frozen=True)
class LandscapeConfig:
    """Configuration of θ.

    Attributes:
        num_layers: Rows of W+.
        w_dim: Size of each.
        dimensions: Directions of W+ that are searched.
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
        k = config.dimensions
        self.start = nn.Parameter(torch.zeros(config.num_layers, config.w_dim))
        self.basis = nn.Parameter(torch.zeros(k, config.num_layers * config.w_dim))
        self.log_scale = nn.Parameter(torch.zeros(k))
        self.log_rates = nn.Parameter(torch.zeros(config.steps))
        self.residual = self._network()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.start.device

    @property
    def size(self) -> int:
        """Coordinates of a point, those that remember included."""
        return self.config.dimensions

    def freeze(self) -> Self:
        """Set up for inference: gradients flow to u only."""
        return self.eval().requires_grad_(False)

    def forward(self, u: Float[Tensor, "n size"]) -> Float[Tensor, "n num_layers w_dim"]:
        """Map points of the searched space to W+; differentiable."""
        v = u * self.log_scale.exp()
        return self._moved(v + self.residual(v))

    def origin(self, n: int, *, remembers: bool = True) -> Float[Tensor, "n size"]:
        """Where n descents start: u = 0, with an empty memory or with none."""
        return self.start.new_zeros(n, self.size if remembers else self.config.dimensions)

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 1; later ones have that of the last."""
        index = min(step, self.config.steps) - 1
        return math.exp(float(self.log_rates[index].detach()))

    def _network(self) -> nn.Sequential:
        return _perceptron(self.config.dimensions, self.config.hidden)

    def _moved(self, offsets: Tensor) -> Tensor:
        rows: Tensor = self.start + (offsets @ self.basis).unflatten(1, self.start.shape)
        return rows


class RememberingLandscape(Landscape):
    """θ whose plain descent begins like an encoder: its first step knows the picture.

    Half of u counts only by its direction. It is empty at the origin, and the first step fills it
    with the gradient there, thousands of times longer than what later steps add: from then on it
    is a constant of the picture. A network reads it, and where the descent is, and gives

    - where to go at once: its `shift` comes with the length of what is remembered, 0 or 1;
    - a picture's own preconditioner: its `gate` multiplies each direction by 0 to 2.

    What of a gradient is remembered is fixed by `reading`, which does not learn: the network can
    rely on it.
    """

    def __init__(self, config: LandscapeConfig) -> None:
        super().__init__(config)
        self.reading = nn.Parameter(torch.zeros_like(self.basis), requires_grad=False)

    @property
    def size(self) -> int:
        """See `Landscape.size`."""
        return 2 * self.config.dimensions

    def forward(self, u: Float[Tensor, "n size"]) -> Float[Tensor, "n num_layers w_dim"]:
        """Map points to W+; differentiable. Points `[n, dimensions]` remember nothing."""
        scale, k = self.log_scale.exp(), self.config.dimensions
        v, remembered = u[:, :k] * scale, _direction(u[:, k:])
        if not remembered.shape[1]:
            remembered = torch.zeros_like(v)
        shift, gate = self.read(remembered, v)
        full = remembered.square().sum(dim=1, keepdim=True)
        trace: Tensor = (_TRACE * remembered @ self.reading).unflatten(1, self.start.shape)
        return trace + self._moved(v * (1 + gate.tanh()) + full * shift)

    def read(
        self, remembered: Float[Tensor, "n k"], v: Float[Tensor, "n k"]
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        """What the network makes of a memory's direction and of a place: shift and gate."""
        evened = remembered * self.config.dimensions**0.5
        shift, gate = self.residual(torch.cat([evened, v], dim=1)).chunk(2, dim=1)
        return shift, gate

    def _network(self) -> nn.Sequential:
        return _perceptron(2 * self.config.dimensions, self.config.hidden)


def _perceptron(size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(size, hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Linear(hidden, size),
    )


def _direction(memory: Tensor) -> Tensor:
    """Length 1 where a memory is long; in proportion to it where it is nearly empty."""
    return memory * (memory.square().sum(dim=1, keepdim=True) + _SMALL**2).rsqrt()


FAMILY = "remembering"
"""Name of the architecture that is trained."""

_FAMILIES: dict[str, type[Landscape]] = {"residual": Landscape, FAMILY: RememberingLandscape}


def build_landscape(
    family: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Landscape:
    """Build a frozen θ around tensors.

    Args:
        family: `remembering`, or `residual`: one without memory.
        fields: Those of `LandscapeConfig`.
        tensors: Every parameter, by its name in `Landscape`.

    Raises:
        BrokenBundleError: The family is unknown, or fields or tensors do not fit it.
    """
    if family not in _FAMILIES:
        raise BrokenBundleError(
            f"landscape family {family!r} is not one of {', '.join(_FAMILIES)}",
            value=family,
            limit=list(_FAMILIES),
        )
    try:
        with unfilled():
            network = _FAMILIES[family](LandscapeConfig(**fields_of(fields)))
        network.load_state_dict(tensors, strict=True, assign=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BrokenBundleError(f"the landscape cannot be read: {error}") from error
    return network.freeze()

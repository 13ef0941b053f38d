"""Adam in a basis of each image's own gradients.

Adam gives every coordinate a step of its own length, which helps only where the loss is steep along
coordinates. Here an image's gradient, a matrix of rows by numbers, is turned into the basis in
which the rows, and the columns, of its recent gradients are uncorrelated; Adam steps there, and the
step is turned back.

Source: SOAP, arXiv:2409.11321. Differs: every image of a batch has its own bases; they are found by
eigendecompositions, and the squares are carried into the new ones; what is small beside an image's
whole gradient takes no full step.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

BETA = 0.9
"""How much is kept, at each step, of the mean gradient and of the mean square."""

_PRODUCTS_BETA = 0.95
"""How much is kept of the products that the bases are made of."""

FIRST_BASES = 10
"""Steps until there are bases: those of fewer gradients are arbitrary in most directions."""

_RENEWAL = 5
"""Steps from one renewal of the bases to the next."""

_FLOOR = 0.01
"""Added to the size of a coordinate's gradients, as a part of the root mean square of all."""


class Soap(torch.optim.Optimizer):
    """Moves latents `[n, rows, d]`; tensors of more dimensions, such as noise maps, as Adam does.

    Args:
        parameters: What is moved; the first dimension is that of images.
    """

    def __init__(self, parameters: list[Tensor]) -> None:
        super().__init__(parameters, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter once, by its `grad`."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["moments"] = _Moments(parameter)
                parameter.sub_(group["lr"] * state["moments"].step(parameter.grad))


class _Moments:
    """What is remembered of the gradients of one parameter."""

    def __init__(self, parameter: Tensor) -> None:
        self._steps = 0
        self._mean = torch.zeros_like(parameter)
        self._squares = torch.zeros_like(parameter)
        self._bases = _Bases(parameter) if parameter.dim() == 3 else None

    def step(self, gradient: Tensor) -> Tensor:
        """The step for a rate of 1."""
        self._steps += 1
        self._mean.lerp_(gradient, 1 - BETA)
        self._squares.lerp_(self._turned(gradient).square(), 1 - BETA)
        weight = 1 - BETA**self._steps  # of what was seen so far
        squares = self._squares / weight
        whole = squares.flatten(1).mean(dim=1).reshape(-1, *[1] * (squares.dim() - 1))
        sizes = squares.sqrt() + _FLOOR * whole.sqrt()
        step = self._turned(self._mean) / weight / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)
        if self._bases is None:
            return step
        step = self._bases.turn_back(step)
        self._bases.see(gradient)
        if self._steps >= FIRST_BASES and (self._steps - FIRST_BASES) % _RENEWAL == 0:
            self._squares = self._bases.renew(self._squares)
        return step

    def _turned(self, tensor: Tensor) -> Tensor:
        return tensor if self._bases is None else self._bases.turn(tensor)


class _Bases:
    """Two orthogonal bases for each matrix of a batch, of its rows and of its columns."""

    def __init__(self, like: Float[Tensor, "n rows d"]) -> None:
        n, *sizes = like.shape
        self._products = [like.new_zeros(n, size, size) for size in sizes]
        self._rows, self._columns = (
            torch.eye(size, device=like.device, dtype=like.dtype).expand(n, -1, -1)
            for size in sizes
        )

    def turn(self, matrices: Tensor) -> Tensor:
        """Into the bases."""
        return self._rows.mT @ matrices @ self._columns

    def turn_back(self, matrices: Tensor) -> Tensor:
        """Out of the bases."""
        return self._rows @ matrices @ self._columns.mT

    def see(self, gradients: Tensor) -> None:
        """Remember the products of the gradients."""
        rows, columns = self._products
        rows.lerp_(gradients @ gradients.mT, 1 - _PRODUCTS_BETA)
        columns.lerp_(gradients.mT @ gradients, 1 - _PRODUCTS_BETA)

    def renew(self, squares: Tensor) -> Tensor:
        """Find the bases anew; returns mean squares in them, as if their products had mean 0."""
        rows, columns = (torch.linalg.eigh(products)[1] for products in self._products)
        from_rows = (rows.mT @ self._rows).square()
        from_columns = (self._columns.mT @ columns).square()
        self._rows, self._columns = rows, columns
        carried: Tensor = from_rows @ squares @ from_columns
        return carried

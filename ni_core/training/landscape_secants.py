"""The gradient of a loss as a function that can itself be differentiated, for any generator.

A descent that learns how it descends needs to know how a step changes the gradients of the next
ones: products of the loss's second derivative with a vector. They are taken as differences of two
gradients, at the cost of one gradient and no memory. The two are as far apart as half a step of the
descent: what counts is how the loss bends over that distance, not in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Measure = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Rows of W+ to the loss `[n]` of each and its gradient there."""

REACH = 0.5
"""Distance of the two gradients, in lengths of the step that led to the first."""

_SHORTEST = 1e-3
"""Length that no distance is below, for a descent's start, to which no step leads."""


def measured(
    measure: Measure,
    rows: Float[Tensor, "n num_layers w_dim"],
    before: Float[Tensor, "n num_layers w_dim"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n num_layers w_dim"]]:
    """Losses and their gradients at some rows; both can be differentiated with respect to these.

    Args:
        measure: Called once, and once more when what is made of the gradients is differentiated.
        rows: Where.
        before: Where the descent was a step before; says how far its steps go.
    """
    return cast(tuple[Tensor, Tensor], _Measured.apply(rows, before, measure))


class _Measured(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, before: Tensor, measure: Measure) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        losses, gradients = measure(rows.detach())
        ctx.measure = measure
        ctx.save_for_backward(rows, before, gradients)
        return losses, gradients

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor | None) -> tuple[Tensor | None, None, None]:
        rows, before, gradients = ctx.saved_tensors
        of_losses, of_gradients = outer
        found = torch.zeros_like(rows)
        if of_losses is not None:
            found = found + of_losses[:, None, None] * gradients
        if of_gradients is not None:
            reach = (REACH * _lengths(rows - before)).clamp_min(_SHORTEST)
            length = _lengths(of_gradients).clamp_min(torch.finfo(rows.dtype).tiny)
            _, beyond = ctx.measure(rows + of_gradients * (reach / length))
            found = found + (beyond - gradients) * (length / reach)
        return found, None, None


def _lengths(rows: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(rows.flatten(1), dim=1)[:, None, None]
    return lengths

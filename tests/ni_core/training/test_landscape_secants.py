"""Gradients that can be differentiated once more, by differences of gradients."""

import torch
from torch import Tensor

from ni_core.training.landscape_secants import measured

CURVATURES = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


class Bowl:
    """A loss that is curved by `CURVATURES` everywhere, and counts how often it is measured."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return (CURVATURES * rows.square() / 2).sum(dim=(1, 2)), CURVATURES * rows


def rows_at(seed: int) -> Tensor:
    return torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(seed))


def test_a_bowl_gives_back_its_curvature() -> None:
    rows, vector = rows_at(0).requires_grad_(), rows_at(1)
    losses, gradients = measured(Bowl(), rows, rows_at(2))
    (losses.sum() + (gradients * vector).sum()).backward()
    assert rows.grad is not None
    assert torch.allclose(rows.grad, CURVATURES * (rows + vector), atol=1e-4)


def test_a_gradient_that_nothing_is_made_of_costs_nothing_more() -> None:
    bowl, rows = Bowl(), rows_at(0).requires_grad_()
    losses, gradients = measured(bowl, rows, rows_at(2))
    losses.sum().backward()
    assert bowl.calls == 1
    assert rows.grad is not None
    assert torch.equal(rows.grad, gradients)


def test_a_descent_s_start_and_a_vector_of_0_give_finite_numbers() -> None:
    rows, vector = rows_at(0).requires_grad_(), rows_at(1)
    vector[0] = 0
    _, gradients = measured(Bowl(), rows, rows.detach())
    (gradients * vector).sum().backward()
    assert rows.grad is not None
    assert not rows.grad[0].any()
    assert torch.allclose(rows.grad, CURVATURES * vector, atol=2e-2)

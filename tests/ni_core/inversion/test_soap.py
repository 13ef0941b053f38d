"""SOAP descends along slanted valleys, and treats every image alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ni_core.inversion.soap import BETA, Soap

Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]


def adam(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, betas=(BETA, BETA))


def descended(
    start: Tensor, loss: Callable[[Tensor], Tensor], optimizer: Optimizer, steps: int = 150
) -> Tensor:
    """Where so many steps lead, at a rate that falls to 0."""
    parameter = start.clone().requires_grad_()
    moving = optimizer([parameter])
    for step in range(steps):
        moving.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
        (parameter.grad,) = torch.autograd.grad(loss(parameter).sum(), parameter)
        moving.step()
    return parameter.detach()


@pytest.fixture
def valley() -> Callable[[Tensor], Tensor]:
    """A quadratic of each of three images: steep along some slanted lines, flat along others."""
    seeded = torch.Generator().manual_seed(1)
    slants = torch.linalg.qr(torch.randn(3, 16, 16, generator=seeded))[0]
    steepness = torch.logspace(0, -3, 16)
    targets = torch.randn(3, 6, 16, generator=seeded)

    def loss(points: Tensor) -> Tensor:
        n = len(points)
        turned = torch.einsum("nrd, nde -> nre", points - targets[:n], slants[:n])
        return (turned.square() * steepness).flatten(1).sum(dim=1)

    return loss


def test_it_comes_nearer_than_adam_in_a_slanted_valley(
    valley: Callable[[Tensor], Tensor],
) -> None:
    start = torch.zeros(3, 6, 16)
    ours, theirs = (valley(descended(start, valley, it)) for it in (Soap, adam))
    assert (ours < 0.5 * theirs).all(), (ours, theirs)


def test_an_image_moves_alone_as_in_a_batch(
    valley: Callable[[Tensor], Tensor],
) -> None:
    start = torch.zeros(3, 6, 16)
    together = descended(start, valley, Soap, steps=20)
    alone = descended(start[:1], valley, Soap, steps=20)
    torch.testing.assert_close(alone, together[:1], atol=1e-3, rtol=1e-3)


def test_noise_maps_come_as_near_as_with_adam() -> None:
    target = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(2))

    def loss(maps: Tensor) -> Tensor:
        return (maps - target).square().flatten(1).sum(dim=1)

    ours, theirs = (loss(descended(torch.zeros_like(target), loss, it)) for it in (Soap, adam))
    assert (ours < 2 * theirs + 1e-6).all(), (ours, theirs)


def test_where_there_is_no_gradient_nothing_moves() -> None:
    start = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(3))
    flat = descended(start, lambda points: 0 * points.flatten(1).sum(dim=1), Soap, steps=12)
    assert torch.equal(flat, start)

"""θ itself: a map with a start, a linear part and learning rates, and how it is read."""

from dataclasses import asdict
from typing import TypeVar

import pytest
import torch

from ni_core.errors import BrokenBundleError
from ni_core.landscapes import (
    FAMILY,
    Landscape,
    LandscapeConfig,
    RememberingLandscape,
    build_landscape,
)

Kind = TypeVar("Kind", bound=Landscape)
CONFIG = LandscapeConfig(num_layers=3, w_dim=4, dimensions=5, hidden=6, steps=2)


def theta(kind: type[Kind]) -> Kind:
    torch.manual_seed(0)
    made = kind(CONFIG)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


@pytest.mark.parametrize("kind", [Landscape, RememberingLandscape])
def test_the_linear_part_alone_is_a_preconditioner(kind: type[Landscape]) -> None:
    made = theta(kind)
    for parameter in made.residual[-1].parameters():
        torch.nn.init.zeros_(parameter)
    u, gradient = torch.randn(2, 5, requires_grad=True), torch.randn(2, 3, 4)
    (found,) = torch.autograd.grad((made(u) * gradient).sum(), u)
    expected = gradient.flatten(1) @ made.basis.T * made.log_scale.exp()
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(made(made.origin(2))[0], made.start)


def test_the_first_step_fills_the_memory_and_later_ones_leave_it() -> None:
    made = theta(RememberingLandscape)
    for parameter in made.residual[-1].parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    u, first = made.origin(2), torch.randn(2, 3, 4)
    steepest = first.flatten(1) @ made.reading.T
    expected = -steepest / steepest.norm(dim=1, keepdim=True)
    for step, gradient in enumerate((first, torch.randn(2, 3, 4), torch.randn(2, 3, 4))):
        u.requires_grad_()
        (moved,) = torch.autograd.grad((made(u) * gradient).sum(), u)
        u = (u - moved).detach()
        memory = u[:, 5:]
        assert torch.allclose(memory / memory.norm(dim=1, keepdim=True), expected, atol=1e-2), step


def test_a_full_memory_shifts_and_none_does_not() -> None:
    made = theta(RememberingLandscape)
    none = made.origin(2, remembers=False)
    assert none.shape == (2, 5)
    assert torch.equal(made(none), made(made.origin(2)))
    full = torch.cat([none, torch.eye(2, 5)], dim=1)
    assert not torch.allclose(made(full)[0], made.start, atol=1e-2)
    assert torch.allclose(made(torch.cat([none, 9 * torch.eye(2, 5)], dim=1)), made(full))


def test_steps_beyond_the_last_have_the_rate_of_the_last() -> None:
    made = theta(Landscape)
    rates = made.log_rates.exp().tolist()
    assert [made.rate(step) for step in (1, 2, 3, 500)] == pytest.approx([*rates, *rates[1:] * 2])


@pytest.mark.parametrize(
    ("family", "kind"), [("residual", Landscape), (FAMILY, RememberingLandscape)]
)
def test_what_was_stored_is_built_again_and_frozen(family: str, kind: type[Landscape]) -> None:
    made = theta(kind)
    built = build_landscape(family, asdict(CONFIG), made.state_dict())
    u = torch.randn(2, made.size)
    assert torch.equal(built(u), made(u))
    assert not any(parameter.requires_grad for parameter in built.parameters())


def test_another_family_other_fields_and_other_weights_are_refused() -> None:
    tensors = theta(RememberingLandscape).state_dict()
    with pytest.raises(BrokenBundleError, match="'cubic' is not one of residual, remembering"):
        build_landscape("cubic", asdict(CONFIG), tensors)
    with pytest.raises(BrokenBundleError, match="width"):
        build_landscape(FAMILY, {**asdict(CONFIG), "width": 3}, tensors)
    with pytest.raises(BrokenBundleError, match="basis"):
        build_landscape(FAMILY, {**asdict(CONFIG), "w_dim": 5}, tensors)

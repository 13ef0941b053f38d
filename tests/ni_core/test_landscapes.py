"""θ itself: a map with a start, a linear part and learning rates, and how it is read."""

from dataclasses import asdict

import pytest
import torch

from ni_core.errors import BrokenBundleError
from ni_core.landscapes import FAMILY, Landscape, LandscapeConfig, build_landscape

CONFIG = LandscapeConfig(num_layers=3, w_dim=4, dimensions=5, hidden=6, steps=2)


def theta() -> Landscape:
    torch.manual_seed(0)
    made = Landscape(CONFIG)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def test_the_linear_part_alone_is_a_preconditioner() -> None:
    made = theta()
    for parameter in made.residual[-1].parameters():
        torch.nn.init.zeros_(parameter)
    u, gradient = torch.randn(2, 5, requires_grad=True), torch.randn(2, 3, 4)
    (found,) = torch.autograd.grad((made(u) * gradient).sum(), u)
    expected = gradient.flatten(1) @ made.basis.T * made.log_scale.exp()
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(made(made.origin(2))[0], made.start)


def test_steps_beyond_the_last_have_the_rate_of_the_last() -> None:
    made = theta()
    rates = made.log_rates.exp().tolist()
    assert [made.rate(step) for step in (1, 2, 3, 500)] == pytest.approx([*rates, *rates[1:] * 2])


def test_what_was_stored_is_built_again_and_frozen() -> None:
    made = theta()
    built = build_landscape(FAMILY, asdict(CONFIG), made.state_dict())
    u = torch.randn(2, 5)
    assert torch.equal(built(u), made(u))
    assert not any(parameter.requires_grad for parameter in built.parameters())


def test_another_family_other_fields_and_other_weights_are_refused() -> None:
    tensors = theta().state_dict()
    with pytest.raises(BrokenBundleError, match="'cubic' is not residual"):
        build_landscape("cubic", asdict(CONFIG), tensors)
    with pytest.raises(BrokenBundleError, match="width"):
        build_landscape(FAMILY, {**asdict(CONFIG), "width": 3}, tensors)
    with pytest.raises(BrokenBundleError, match="basis"):
        build_landscape(FAMILY, {**asdict(CONFIG), "w_dim": 5}, tensors)

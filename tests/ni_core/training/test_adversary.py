import pytest
import torch

from ni_core.training.adversary import (
    PixelCritic,
    ProjectedCritic,
    augment,
    gradient_penalty,
    hinge,
    spread_of,
)
from ni_core.training.regressor import Regressor


def test_calibration_gives_taps_of_unit_size() -> None:
    torch.manual_seed(0)
    regressor = Regressor(32).freeze()
    critic = ProjectedCritic(regressor)
    pictures = torch.randn(8, 3, 32, 32)
    critic.calibrate(pictures)
    for tap, scale in zip(regressor.taps(pictures), critic.scales, strict=True):
        assert (tap * scale).square().mean() == pytest.approx(1, rel=1e-4)


def test_the_frozen_network_is_not_among_the_critics_weights() -> None:
    critic = ProjectedCritic(Regressor(32).freeze())
    trained = {name for name, p in critic.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("heads.") for name in trained)
    assert [scores.shape[2] for scores in critic(torch.randn(2, 3, 32, 32))] == [8, 8, 4, 2]


def test_the_spread_of_equal_pictures_is_nothing() -> None:
    same = torch.randn(1, 4, 2, 2).expand(8, -1, -1, -1)
    varied = torch.randn(8, 4, 2, 2)
    assert spread_of(same, torch.ones(3)).abs().max() < 1e-3
    assert spread_of(varied, torch.ones(3)).min() > 0.5
    assert spread_of(varied, torch.ones(3)).shape == (8, 3, 1, 1)


def test_groups_are_compared_apart() -> None:
    features = torch.cat([torch.zeros(8, 4, 2, 2), torch.randn(8, 4, 2, 2)])
    spread = spread_of(features, torch.ones(1)).flatten()
    assert spread[:8].max() < 1e-3 < spread[8:].min()


def test_hinge_is_zero_only_for_a_confident_critic() -> None:
    assert hinge([torch.full((3,), 2.0)], [torch.full((3,), -2.0)]) == 0
    assert hinge([torch.zeros(3)], [torch.zeros(3)]) == 2


def test_the_penalty_has_gradients_to_the_critic() -> None:
    torch.manual_seed(0)
    critic = PixelCritic(16, (4, 8))
    gradient_penalty(critic, torch.randn(4, 3, 16, 16)).backward()
    assert critic.steps[0].weight.grad.abs().max() > 0


def test_widths_that_do_not_lead_to_4_px_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 widths"):
        PixelCritic(64, (4, 8))


def test_augmentation_repeats_passes_gradients_and_cuts_a_hole() -> None:
    pictures = torch.ones(16, 3, 32, 32, requires_grad=True)
    first = augment(pictures, torch.Generator().manual_seed(1))
    second = augment(pictures, torch.Generator().manual_seed(1))
    assert torch.equal(first, second)
    first.sum().backward()
    assert pictures.grad.abs().sum() > 0
    holes = (first == 0).all(dim=1).float().mean(dim=(1, 2))
    assert holes.max() <= 1 / 16 + 1 / 32 and holes.mean() > 0.01

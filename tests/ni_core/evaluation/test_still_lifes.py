import torch

from ni_core.evaluation.reading import unseen_factors
from ni_core.evaluation.still_lifes import render_still_lifes


def test_a_still_life_depends_on_its_place_and_light_alone() -> None:
    light = unseen_factors(6, seed=1)
    pictures = render_still_lifes(light, 64, seed=1)
    assert pictures.shape == (6, 3, 64, 64)
    assert torch.equal(render_still_lifes(light[:2], 64, seed=1), pictures[:2])
    assert pictures.abs().max() <= 1
    assert (pictures[0] - pictures[1]).abs().mean() > 0.05
    other = render_still_lifes(light, 64, seed=2)
    assert (other - pictures).abs().mean() > 0.05


def test_balls_stand_out_from_floor_and_wall() -> None:
    pictures = render_still_lifes(unseen_factors(8, seed=3), 32, seed=3)
    spread = pictures.flatten(2).std(dim=2).mean(dim=1)
    assert (spread > 0.1).all()

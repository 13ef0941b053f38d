"""Plain descent in the space of θ as a method, taken up again, and as a start for others."""

import dataclasses

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.errors import InvalidOptionError, UnknownMethodError
from ni_core.inversion import StepReport
from ni_core.inversion.landscape import LandscapeOptions, landscape, landscape_start
from ni_core.training.landscape_run import LandscapeRun, Recipe


@pytest.fixture(scope="module")
def equipped(bundle: Bundle) -> Bundle:
    """The bundle with a θ that has not learnt yet: linear, levelling the loss's curvature."""
    recipe = Recipe(
        "tiny",
        "samples",
        horizon=1,
        dimensions=64,
        hidden=8,
        probes=64,
        fitted=64,
        descent_rate=0.2,
    )
    run = LandscapeRun(bundle, None, recipe)
    run.prepare()
    return dataclasses.replace(bundle, landscape=run.landscape.freeze())


def test_every_step_of_plain_descent_is_reported_and_the_loss_falls(
    equipped: Bundle, pictures: Tensor
) -> None:
    reports: list[StepReport] = []
    found = landscape(equipped, pictures, LandscapeOptions(steps=5), on_step=reports.append)
    assert [report.step for report in reports] == [1, 2, 3, 4, 5]
    assert found.latents.shape == (4, 6, 32)
    assert found.stopped == "steps"
    assert all(min(losses) < losses[0] for losses in found.history)


def test_one_picture_descends_as_it_does_among_others(equipped: Bundle, pictures: Tensor) -> None:
    together = landscape(equipped, pictures, LandscapeOptions(steps=4)).latents
    alone = landscape(equipped, pictures[:1], LandscapeOptions(steps=4)).latents
    assert torch.allclose(alone, together[:1], atol=1e-4)


def test_a_run_taken_up_again_goes_on_from_the_latents_it_was_given(
    equipped: Bundle, pictures: Tensor
) -> None:
    options = LandscapeOptions(steps=6)
    reports: list[StepReport] = []
    landscape(equipped, pictures, options, on_step=reports.append)
    left = reports[2].latents
    found = landscape(equipped, pictures, options, start=left, first_step=3)
    assert found.steps == 6
    assert [len(losses) for losses in found.history] == [3] * 4
    assert [losses[0] for losses in found.history] == pytest.approx(reports[3].losses, rel=1e-3)


def test_a_learning_rate_replaces_those_of_theta(equipped: Bundle, pictures: Tensor) -> None:
    assert equipped.landscape is not None
    own = equipped.landscape.rate(1)
    usual = landscape(equipped, pictures, LandscapeOptions(steps=1)).latents
    same = landscape(equipped, pictures, LandscapeOptions(steps=1, learning_rate=own)).latents
    slow = landscape(equipped, pictures, LandscapeOptions(steps=1, learning_rate=1e-6)).latents
    assert torch.equal(usual, same)
    assert not torch.allclose(slow, usual, atol=1e-2)


def test_an_image_stops_at_its_target(equipped: Bundle, pictures: Tensor) -> None:
    found = landscape(equipped, pictures, LandscapeOptions(target_lpips=10))
    assert found.stopped == "target"
    with pytest.raises(InvalidOptionError, match="LPIPS is not measured"):
        landscape(equipped, pictures, LandscapeOptions(target_lpips=1, lpips_coefficient=0))


def test_a_start_for_another_descent_is_nearer_than_the_mean(
    equipped: Bundle, pictures: Tensor
) -> None:
    start = landscape_start(equipped, pictures, steps=3)
    mean = equipped.generator.w_avg.expand_as(start)
    with torch.no_grad():
        near, far = (equipped.generator.synthesize(rows) for rows in (start, mean))
    assert (near - pictures).square().mean() < (far - pictures).square().mean()


def test_a_bundle_without_theta_says_so(bundle: Bundle, pictures: Tensor) -> None:
    with pytest.raises(UnknownMethodError, match="tiny has no part landscape"):
        landscape(bundle, pictures, LandscapeOptions())

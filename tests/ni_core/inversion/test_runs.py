"""A run reports its steps, is resumed, and stops."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.generators import latent_shape, to_synthesis_input
from ni_core.inversion import StepReport, invert


def test_a_callback_sees_every_step(bundle: Bundle, pictures: Tensor) -> None:
    reports: list[StepReport] = []
    result = invert(bundle, pictures, options={"steps": 4}, on_step=reports.append)
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert {report.steps for report in reports} == {4}
    for index, report in enumerate(reports):
        assert report.losses == [history[index] for history in result.history]
        assert report.loss == pytest.approx(sum(report.losses) / 4)
        assert report.latents.shape == (4, *latent_shape(bundle.generator, "w+"))
        assert math.isfinite(report.eta_s)
    assert reports[-1].eta_s == 0
    assert not torch.equal(reports[0].latents, reports[1].latents)
    inputs = to_synthesis_input(bundle.generator, reports[2].latents, "w+")
    torch.testing.assert_close(reports[2].images(), bundle.generator.synthesize(inputs))


def test_the_rows_of_w_plus_move_as_one_in_the_shared_part(
    bundle: Bundle, pictures: Tensor
) -> None:
    reports: list[StepReport] = []
    options = {"steps": 8, "shared_part": 0.5, "starts": 2}
    invert(bundle, pictures, options=options, on_step=reports.append)
    for report in reports:
        rows = report.latents
        assert torch.equal(rows, rows[:, :1].expand_as(rows)) == (report.step <= 4)


def test_while_starts_are_tried_a_callback_sees_one_latent_of_each_image(
    bundle: Bundle, pictures: Tensor
) -> None:
    reports: list[StepReport] = []
    options = {"steps": 20, "starts": 3, "space": "w"}
    invert(bundle, pictures, options=options, on_step=reports.append)
    assert [report.step for report in reports] == list(range(1, 21))
    assert {tuple(report.latents.shape) for report in reports} == {(4, bundle.generator.w_dim)}
    assert {len(report.losses) for report in reports} == {4}


def test_what_a_callback_raises_ends_the_run_unchanged(bundle: Bundle, pictures: Tensor) -> None:
    class Canceled(BaseException):
        pass

    seen: list[int] = []

    def cancel(report: StepReport) -> None:
        seen.append(report.step)
        if report.step == 2:
            raise Canceled

    with pytest.raises(Canceled):
        invert(bundle, pictures, on_step=cancel)
    assert seen == [1, 2]


def test_a_resumed_run_goes_on_from_the_saved_latents(bundle: Bundle, pictures: Tensor) -> None:
    reports: list[StepReport] = []
    options = {"steps": 30}
    whole = invert(bundle, pictures, options=options, on_step=reports.append)
    saved = reports[19]
    resumed_reports: list[StepReport] = []
    resumed = invert(
        bundle,
        pictures,
        options=options,
        start=saved.latents,
        first_step=20,
        on_step=resumed_reports.append,
    )
    assert [report.step for report in resumed_reports] == list(range(21, 31))
    assert resumed.steps == 30
    for index in range(4):
        assert resumed.history[index][0] == pytest.approx(whole.history[index][20], rel=1e-3)
        assert min(resumed.history[index]) < whole.history[index][20]


def test_a_run_that_is_resumed_late_still_comes_nearer(bundle: Bundle, pictures: Tensor) -> None:
    reports: list[StepReport] = []
    options = {"steps": 60, "starts": 1}
    invert(bundle, pictures, options=options, on_step=reports.append)
    latents = reports[39].latents
    resumed = invert(bundle, pictures, options=options, start=latents, first_step=40)
    for history in resumed.history:
        assert min(history) < 0.8 * history[0]


def test_plain_gradient_descent_is_resumed_exactly(bundle: Bundle, pictures: Tensor) -> None:
    reports: list[StepReport] = []
    options = {"steps": 12, "optimizer": "sgd"}
    whole = invert(bundle, pictures, options=options, on_step=reports.append)
    start = reports[6].latents
    resumed = invert(bundle, pictures, options=options, start=start, first_step=7)
    for one, other in zip(whole.latents, resumed.latents, strict=True):
        torch.testing.assert_close(one.tensor, other.tensor)


def test_a_run_resumed_at_its_end_gives_the_saved_latents(bundle: Bundle, pictures: Tensor) -> None:
    start = bundle.generator.w_avg.expand(4, *latent_shape(bundle.generator, "w+"))
    result = invert(bundle, pictures, options={"steps": 5}, start=start, first_step=5)
    assert result.history == [[], [], [], []]
    assert torch.equal(torch.stack([latent.tensor for latent in result.latents]), start)


def test_an_image_stops_at_its_target_and_the_others_go_on(
    bundle: Bundle, pictures: Tensor
) -> None:
    start = bundle.generator.w_avg.expand(2, *latent_shape(bundle.generator, "w+")).clone()
    with torch.no_grad():
        easy = bundle.generator.synthesize(start[:1])
    images = torch.cat([easy, pictures[:1]])
    reports: list[StepReport] = []
    options = {"steps": 6, "target_lpips": 0.001, "learning_rate": 0.01, "starts": 1}
    result = invert(bundle, images, options=options, on_step=reports.append)
    assert [len(history) for history in result.history] == [1, 6]
    assert result.stopped == "steps"
    assert result.metrics[0]["lpips"] <= 0.001
    for before, after in itertools.pairwise(reports):
        assert torch.equal(before.latents[0], after.latents[0]) == (before.step >= 1)
        assert not torch.equal(before.latents[1], after.latents[1])


def test_a_run_ends_when_all_images_reached_the_target(bundle: Bundle, pictures: Tensor) -> None:
    result = invert(bundle, pictures, options={"steps": 200, "target_lpips": 0.4})
    assert result.stopped == "target"
    assert result.steps == max(len(history) for history in result.history) < 200
    # Not the metrics, which are of clipped pictures: the tiny generator's leave [-1, 1].
    assert (bundle.perceptual(result.images, pictures) <= 0.4 + 1e-3).all()


def test_a_run_ends_when_no_image_makes_progress(bundle: Bundle, pictures: Tensor) -> None:
    options = {"steps": 100, "patience": 3, "learning_rate": 1e-6, "ramp": False, "starts": 1}
    result = invert(bundle, pictures, options=options)
    assert result.stopped == "plateau"
    assert result.steps == 4
    never = invert(bundle, pictures, options={**options, "patience": 0, "steps": 6})
    assert never.stopped == "steps"


def test_a_budget_ends_the_run_but_not_before_one_step(bundle: Bundle, pictures: Tensor) -> None:
    result = invert(bundle, pictures, options={"steps": 5000, "budget_seconds": 0})
    assert (result.stopped, result.steps) == ("budget", 1)
    result = invert(bundle, pictures, options={"steps": 5000, "budget_seconds": 0.5})
    assert result.stopped == "budget"
    assert 1 <= result.steps < 5000

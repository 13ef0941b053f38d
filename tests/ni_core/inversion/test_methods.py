"""Every method in the table inverts, batches, stops, repeats, and refuses what it cannot do."""

import copy
import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.errors import (
    InvalidImageError,
    InvalidLatentError,
    InvalidOptionError,
    InversionDivergedError,
    SpaceNotAvailableError,
    UnknownMethodError,
)
from ni_core.generators import latent_shape, to_synthesis_input
from ni_core.inversion import METHODS, StepReport, invert, resolve_method
from ni_core.inversion.options import DescentOptions
from ni_core.metrics import compare

SPACES = ["z", "w", "w+"]
DESCENTS = [name for name, method in METHODS.items() if issubclass(method.options, DescentOptions)]
CASES = [(method, space) for method in DESCENTS for space in SPACES]


@pytest.mark.parametrize(("method", "space"), CASES)
def test_a_picture_of_the_generator_comes_closer(
    bundle: Bundle, pictures: Tensor, method: str, space: str
) -> None:
    one = invert(bundle, pictures, method=method, options={"steps": 1, "space": space})
    many = invert(bundle, pictures, method=method, options={"steps": 30, "space": space})
    for before, after in zip(one.metrics, many.metrics, strict=True):
        assert after["psnr"] > before["psnr"] + 1
        assert after["lpips"] < before["lpips"]


@pytest.mark.parametrize("space", SPACES)
def test_one_start_suffices_in_any_space(bundle: Bundle, pictures: Tensor, space: str) -> None:
    result = invert(bundle, pictures, options={"steps": 30, "space": space, "starts": 1})
    for history in result.history:
        assert min(history) < 0.5 * history[0]


@pytest.mark.parametrize(("method", "space"), CASES)
def test_the_result_is_what_its_latents_give(
    bundle: Bundle, pictures: Tensor, method: str, space: str
) -> None:
    result = invert(bundle, pictures, method=method, options={"steps": 3, "space": space})
    latents = torch.stack([latent.tensor for latent in result.latents])
    assert result.method == method
    assert result.stopped == "steps"
    assert result.steps == 3
    assert [len(history) for history in result.history] == [3] * 4
    for latent in result.latents:
        assert (latent.space, latent.generator) == (space, bundle.generator.fingerprint)
        assert latent.tensor.dtype == torch.float32
        assert tuple(latent.tensor.shape) == latent_shape(bundle.generator, latent.space)
    inputs = to_synthesis_input(bundle.generator, latents, result.latents[0].space)
    images = bundle.generator.synthesize(inputs)
    torch.testing.assert_close(images, result.images)
    for again, told in zip(
        compare(images, pictures, bundle.perceptual), result.metrics, strict=True
    ):
        assert again.pop("trunk") == told["trunk"] == "random-squeeze"
        assert again == pytest.approx({key: told[key] for key in again}, rel=1e-3)
    assert not result.images.requires_grad


@pytest.mark.parametrize("method", DESCENTS)
@pytest.mark.parametrize("options", [{}, {"starts": 3}, {"noise_coefficient": 1.0}], ids=str)
def test_an_image_gets_the_same_result_alone_as_in_a_batch(
    bundle: Bundle, pictures: Tensor, method: str, options: dict[str, object]
) -> None:
    # Adam turns the rounding of a gradient near 0 into a full step, and so do LPIPS' kinks.
    options = {"steps": 8, "optimizer": "sgd", "lpips_coefficient": 0, **options}
    together = invert(bundle, pictures, method=method, options=options)
    for index in range(len(pictures)):
        alone = invert(bundle, pictures[index : index + 1], method=method, options=options)
        torch.testing.assert_close(
            alone.latents[0].tensor, together.latents[index].tensor, atol=1e-4, rtol=1e-3
        )
        assert alone.history[0] == pytest.approx(together.history[index], rel=1e-3)


def test_with_adam_and_lpips_too_an_image_comes_as_close_alone_as_in_a_batch(
    bundle: Bundle, pictures: Tensor
) -> None:
    together = invert(bundle, pictures, options={"steps": 8})
    alone = invert(bundle, pictures[2:3], options={"steps": 8})
    assert alone.history[0] == pytest.approx(together.history[2], rel=0.02)


@pytest.mark.parametrize(("method", "space"), CASES)
def test_results_repeat(bundle: Bundle, pictures: Tensor, method: str, space: str) -> None:
    options = {"steps": 5, "space": space, "starts": 2, "seed": 3}
    first, second = (invert(bundle, pictures, method=method, options=options) for _ in range(2))
    for one, other in zip(first.latents, second.latents, strict=True):
        assert torch.equal(one.tensor, other.tensor)


def test_another_seed_starts_elsewhere(bundle: Bundle, pictures: Tensor) -> None:
    options = {"steps": 1, "space": "z"}
    first, second = (
        invert(bundle, pictures[:1], options={**options, "seed": seed}) for seed in (0, 1)
    )
    assert not torch.equal(first.latents[0].tensor, second.latents[0].tensor)


def test_more_starts_are_not_worse_than_the_first_of_them(bundle: Bundle, pictures: Tensor) -> None:
    one, many = (
        invert(bundle, pictures, options={"steps": 20, "space": "z", "starts": starts})
        for starts in (1, 6)
    )
    assert sum(m["lpips"] for m in many.metrics) < sum(m["lpips"] for m in one.metrics)
    assert [len(history) for history in many.history] == [20] * 4


def test_the_best_latent_on_the_way_is_kept(bundle: Bundle, pictures: Tensor) -> None:
    options = {"steps": 12, "optimizer": "sgd", "learning_rate": 100.0, "ramp": False, "starts": 1}
    result = invert(bundle, pictures[:1], options=options)
    assert result.history[0][-1] > min(result.history[0])
    metrics = result.metrics[0]
    clipped_loss = metrics["mse"] + 0.1 * metrics["lpips"]
    assert clipped_loss <= min(result.history[0]) + 1e-4


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


@pytest.mark.parametrize("options", [{"learning_rate": 1e3, "optimizer": "sgd"}])
def test_a_descent_that_leaves_the_finite_numbers_is_an_error(
    bundle: Bundle, pictures: Tensor, options: dict[str, object]
) -> None:
    far = torch.full((4, *latent_shape(bundle.generator, "w+")), 3e38)
    with pytest.raises(InversionDivergedError, match="image 0 is not finite at step 1") as caught:
        invert(bundle, pictures, options=options, start=far)
    assert caught.value.details == {"step": 1, "image": 0}


def test_noise_is_optimised_only_on_request(bundle: Bundle, pictures: Tensor) -> None:
    plain = invert(bundle, pictures, options={"steps": 10})
    noisy = invert(bundle, pictures, options={"steps": 10, "noise_coefficient": 1.0})
    assert not torch.equal(plain.latents[0].tensor, noisy.latents[0].tensor)
    without_noise_inputs = copy.copy(bundle.generator)
    without_noise_inputs.noise_shapes = ()
    bare = dataclasses.replace(bundle, generator=without_noise_inputs)
    again = invert(bare, pictures, options={"steps": 10, "noise_coefficient": 1.0})
    images = [bare.generator.synthesize(latent.tensor[None], "none") for latent in again.latents]
    torch.testing.assert_close(torch.cat(images), again.images, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.2), ("sgd", 2.0)])
def test_both_optimisers_descend(
    bundle: Bundle, pictures: Tensor, optimizer: str, rate: float
) -> None:
    options = {"steps": 20, "optimizer": optimizer, "learning_rate": rate}
    result = invert(bundle, pictures, options=options)
    assert all(min(history) < 0.8 * history[0] for history in result.history)


def test_each_term_can_be_used_alone(bundle: Bundle, pictures: Tensor) -> None:
    by_error = invert(bundle, pictures, options={"steps": 15, "lpips_coefficient": 0})
    by_lpips = invert(bundle, pictures, options={"steps": 15, "mse_coefficient": 0})
    assert sum(m["mse"] for m in by_error.metrics) < sum(m["mse"] for m in by_lpips.metrics)
    assert all(history[-1] < 0.8 * history[0] for history in by_lpips.history)


@pytest.mark.parametrize(
    "options",
    [
        {"mse_coefficient": 0, "lpips_coefficient": 0, "features_coefficient": 0},
        {"lpips_coefficient": 0, "target_lpips": 0.1},
    ],
)
def test_options_that_contradict_each_other_are_refused(
    bundle: Bundle, pictures: Tensor, options: dict[str, object]
) -> None:
    with pytest.raises(InvalidOptionError, match="lpips_coefficient"):
        invert(bundle, pictures, options=options)


@pytest.mark.parametrize("shape", [(3, 16, 16), (0, 3, 16, 16), (1, 1, 16, 16), (1, 3, 8, 8)])
def test_images_that_do_not_fit_are_refused(bundle: Bundle, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidImageError, match=r"takes \[n, 3, 16, 16\]"):
        invert(bundle, torch.zeros(shape))


def test_images_and_starts_that_are_not_finite_are_refused(
    bundle: Bundle, pictures: Tensor
) -> None:
    with pytest.raises(InvalidImageError, match="not finite"):
        invert(bundle, torch.full((1, 3, 16, 16), math.nan))
    start = torch.full((4, *latent_shape(bundle.generator, "w+")), math.nan)
    with pytest.raises(InvalidLatentError, match="not finite"):
        invert(bundle, pictures, start=start)
    with pytest.raises(InvalidLatentError, match=r"4 images in w take \[4, 32\]"):
        invert(bundle, pictures, options={"space": "w"}, start=start)


def test_a_first_step_beyond_the_steps_is_refused(bundle: Bundle, pictures: Tensor) -> None:
    with pytest.raises(InvalidOptionError, match="first_step is 6, but must be from 0 to steps, 5"):
        invert(bundle, pictures, options={"steps": 5}, first_step=6)


def test_a_space_the_generator_lacks_is_refused(bundle: Bundle, pictures: Tensor) -> None:
    generator = copy.copy(bundle.generator)
    generator.spaces = frozenset({"z"})
    only_z = dataclasses.replace(bundle, generator=generator)
    with pytest.raises(SpaceNotAvailableError, match="'w' is not one of this generator's: z"):
        invert(only_z, pictures, options={"space": "w"})


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_resolved_from_a_bundle_or_its_summary(bundle: Bundle, method: str) -> None:
    models: list[Any] = [{"name": "tiny", "methods": list(METHODS)}]
    if METHODS[method].needs <= bundle.manifest.parts:
        models.append(bundle)
    for model in models:
        assert resolve_method(method, model) == method
        assert resolve_method("auto", model) == next(iter(METHODS))


def test_an_unknown_or_unavailable_method_names_the_available_ones(bundle: Bundle) -> None:
    with pytest.raises(UnknownMethodError, match="'magic' is not one of those of tiny: auto, opt"):
        resolve_method("magic", bundle)
    with pytest.raises(UnknownMethodError, match="'auto' is not one of those of bare: auto"):
        resolve_method("auto", {"name": "bare", "methods": []})


def test_images_are_not_changed(bundle: Bundle, pictures: Tensor) -> None:
    before = pictures.clone()
    invert(bundle, pictures, options={"steps": 2})
    assert torch.equal(before, pictures)

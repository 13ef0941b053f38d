"""Every method in the table inverts, batches and repeats."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.generators import latent_shape, to_synthesis_input
from ni_core.inversion import METHODS, invert, resolve_method
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


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_resolved_from_a_bundle_or_its_summary(bundle: Bundle, method: str) -> None:
    models: list[Any] = [{"name": "tiny", "methods": list(METHODS)}]
    if METHODS[method].needs <= bundle.manifest.parts:
        models.append(bundle)
    for model in models:
        assert resolve_method(method, model) == method
        assert resolve_method("auto", model) == next(iter(METHODS))


def test_images_are_not_changed(bundle: Bundle, pictures: Tensor) -> None:
    before = pictures.clone()
    invert(bundle, pictures, options={"steps": 2})
    assert torch.equal(before, pictures)

"""The encoder as a method of its own, and as the start of a descent."""

import dataclasses
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from ni_core.bundles import Bundle
from ni_core.encoders import Encoder, encoder_kind
from ni_core.encoders.psp import Psp, PspConfig
from ni_core.errors import GeneratorMismatchError, InvalidOptionError, UnknownMethodError
from ni_core.inversion import EncoderOptions, StepReport, invert, resolve_method
from ni_core.inversion.encode import encode
from ni_core.inversion.optimize import OptimizeOptions, first_points
from ni_core.inversion.starts import mean_starts

SINGLE = PspConfig(
    6, 32, widths=(4, 6, 8, 10), units=(1, 1, 1, 1), reduction=2, input_shape=(32, 32)
)
REFINING = dataclasses.replace(SINGLE, head="last", refines=True, iterations=3)


def with_encoder(bundle: Bundle, config: PspConfig) -> Bundle:
    """The bundle with a random encoder whose guesses are near the mean of W."""
    torch.manual_seed(0)
    network = Psp(config)
    for style in network.styles:
        style.linear.weight.data.mul_(0.1)  # type: ignore[operator, union-attr]
    network.w_avg.copy_(bundle.generator.w_avg.expand(config.num_layers, -1))
    encoder: Encoder = network.freeze()
    return dataclasses.replace(bundle, encoders={encoder_kind(Psp.family, config): encoder})


@pytest.fixture(params=[SINGLE, REFINING], ids=["one pass", "refining"])
def equipped(request: pytest.FixtureRequest, bundle: Bundle) -> Bundle:
    return with_encoder(bundle, request.param)


def run(
    bundle: Bundle,
    pictures: Tensor,
    options: EncoderOptions | None = None,
    **keywords: object,
) -> tuple[Tensor, list[StepReport]]:
    """Invert with the encoder, past the check that the manifest names one."""
    reports: list[StepReport] = []
    (kind,) = bundle.encoders
    found = encode(
        bundle,
        pictures,
        options or EncoderOptions(),
        kind=kind,
        on_step=reports.append,
        **keywords,  # type: ignore[arg-type]
    )
    return found.latents, reports


def test_each_pass_is_reported_with_its_picture(equipped: Bundle, pictures: Tensor) -> None:
    (encoder,) = equipped.encoders.values()
    latents, reports = run(equipped, pictures)
    assert [report.step for report in reports] == list(range(1, encoder.iterations + 1))
    assert torch.equal(latents, encoder.encode(pictures, equipped.generator))
    assert torch.equal(reports[-1].latents, latents)
    for report in reports:
        images = report.images()
        torch.testing.assert_close(images, equipped.generator.synthesize(report.latents))
        errors = (images - pictures).square().mean(dim=(1, 2, 3)).tolist()
        assert report.losses == pytest.approx(errors)
    assert reports[-1].eta_s == 0


def test_without_metrics_no_picture_is_rendered_and_the_latents_are_the_same(
    bundle: Bundle, pictures: Tensor
) -> None:
    equipped = with_encoder(bundle, SINGLE)
    rendered: list[object] = []
    layers = cast(nn.ModuleList, equipped.generator.layers)  # type: ignore[attr-defined]
    hook = layers[0].register_forward_hook(lambda *call: rendered.append(call))
    latents, (report,) = run(equipped, pictures, EncoderOptions(metrics="none"))
    assert (report.loss, report.losses, rendered) == (None, [], [])
    assert torch.equal(latents, run(equipped, pictures)[0])
    assert len(rendered) == 1, "with metrics it is rendered once"
    hook.remove()


def test_a_refinement_is_resumed_after_any_pass(bundle: Bundle, pictures: Tensor) -> None:
    refining = with_encoder(bundle, REFINING)
    whole, reports = run(refining, pictures)
    for done in (1, 2, 3):
        start = reports[done - 1].latents
        resumed, later = run(refining, pictures, start=start, first_step=done)
        torch.testing.assert_close(resumed, whole)
        assert [report.step for report in later] == list(range(done + 1, 4))


def test_an_image_is_encoded_alone_as_in_a_batch(equipped: Bundle, pictures: Tensor) -> None:
    together, _ = run(equipped, pictures)
    for index in range(len(pictures)):
        alone, _ = run(equipped, pictures[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], atol=1e-5, rtol=1e-4)


def test_a_bundle_without_an_encoder_says_how_to_get_one(bundle: Bundle, pictures: Tensor) -> None:
    wanted = "needs the part encoder: import one with `ni models import --encoder`"
    with pytest.raises(UnknownMethodError, match=wanted):
        invert(bundle, pictures, method="encoder")
    with pytest.raises(UnknownMethodError, match=wanted):
        resolve_method("encoder", {"name": "tiny", "methods": ["optimize"]})
    with pytest.raises(InvalidOptionError, match="start is encoder, but tiny has no part encoder"):
        invert(bundle, pictures, options={"start": "encoder"})


@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_descent_can_start_from_the_encoder(bundle: Bundle, pictures: Tensor, space: str) -> None:
    equipped = with_encoder(bundle, SINGLE)
    (encoder,) = equipped.encoders.values()
    options = {"start": "encoder", "starts": 1, "steps": 1, "learning_rate": 1e-6, "space": space}
    result = invert(equipped, pictures, options=options)
    guess = encoder.encode(pictures)
    guess = guess.mean(dim=1) if space == "w" else guess
    found = torch.stack([latent.tensor for latent in result.latents])
    torch.testing.assert_close(found, guess, atol=1e-3, rtol=1e-3)
    better = invert(equipped, pictures, options={**options, "steps": 20, "learning_rate": 0.2})
    assert better.metrics[0]["mse"] < result.metrics[0]["mse"]


def test_among_several_starts_the_first_is_the_encoders(bundle: Bundle, pictures: Tensor) -> None:
    equipped = with_encoder(bundle, SINGLE)
    options = OptimizeOptions(start="psp", starts=3)
    points = first_points(equipped, pictures, "w+", options)
    usual = mean_starts(equipped, pictures, "w+", 3, 0)
    (encoder,) = equipped.encoders.values()
    assert torch.equal(points[::3], encoder.encode(pictures))
    assert torch.equal(points[1::3], usual[1::3])


def test_z_cannot_start_from_an_encoder(bundle: Bundle, pictures: Tensor) -> None:
    options = {"start": "encoder", "space": "z"}
    with pytest.raises(InvalidOptionError, match="gives latents in w\\+, but the space is z"):
        invert(with_encoder(bundle, SINGLE), pictures, options=options)


def test_an_encoder_of_one_pass_makes_no_second(bundle: Bundle, pictures: Tensor) -> None:
    (encoder,) = with_encoder(bundle, SINGLE).encoders.values()
    with pytest.raises(InvalidOptionError, match="steps is 2, but must be 1"):
        encoder.encode(pictures, steps=2)
    with pytest.raises(InvalidOptionError, match="cannot refine a start"):
        encoder.encode(pictures, start=torch.zeros(4, 6, 32))
    with pytest.raises(InvalidOptionError, match=r"stage is 1, but .* it has no stages"):
        encoder.encode(pictures, stage=1)


def test_an_encoder_that_refines_needs_its_generator(bundle: Bundle, pictures: Tensor) -> None:
    (encoder,) = with_encoder(bundle, REFINING).encoders.values()
    with pytest.raises(GeneratorMismatchError, match="needs its generator"):
        encoder.encode(pictures)
    narrow = Psp(dataclasses.replace(REFINING, num_layers=5)).freeze()
    with pytest.raises(
        GeneratorMismatchError, match=r"\[5, 32\], but the generator takes \[6, 32\]"
    ):
        narrow.encode(pictures, bundle.generator)

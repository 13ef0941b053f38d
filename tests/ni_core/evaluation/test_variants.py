import pytest
import torch

from ni_core.bundles import Bundle
from ni_core.errors import InvalidOptionError, UnknownMethodError
from ni_core.evaluation.picture_sets import own_samples
from ni_core.evaluation.variants import default_variants, half_grey, parse_variant, run_variant


def test_a_variant_is_a_method_with_options_and_a_mask(bundle: Bundle) -> None:
    variant = parse_variant("optimize space=w  starts=2 masked", bundle, steps=7)
    assert variant.name == "optimize space=w starts=2 masked"
    assert variant.method == "optimize"
    assert variant.options == {"steps": 7, "space": "w", "starts": "2"}
    assert variant.masked
    assert parse_variant("optimize steps=3", bundle, steps=7).options == {"steps": "3"}


@pytest.mark.parametrize("text", ["optimize hidden", "optimize steps=0", "optimize speed=3"])
def test_a_word_that_the_method_does_not_take_is_refused_before_any_work(
    bundle: Bundle, text: str
) -> None:
    with pytest.raises(InvalidOptionError):
        parse_variant(text, bundle, steps=7)


@pytest.mark.parametrize("text", ["", "e4e", "guess"])
def test_a_method_that_the_bundle_has_not_is_refused(bundle: Bundle, text: str) -> None:
    with pytest.raises(UnknownMethodError):
        parse_variant(text, bundle, steps=7)


def test_a_bundle_without_learnt_parts_has_descent_alone(bundle: Bundle) -> None:
    assert default_variants(bundle, steps=8) == ["optimize"]


def test_learnt_parts_are_methods_and_starts_and_the_mapper_completes(equipped: Bundle) -> None:
    texts = default_variants(equipped, steps=8)
    assert set(texts) == {
        "optimize",
        "e4e",
        "mapper",
        "mapper masked",
        "landscape",
        "optimize steps=2 start=e4e starts=1",
        "optimize steps=2 start=mapper starts=1",
        "optimize steps=2 start=landscape starts=1",
    }
    pictures = own_samples(equipped, 2, seed=1).pictures
    for text in texts:
        outcome = run_variant(equipped, parse_variant(text, equipped, steps=3), pictures)
        assert outcome.pictures.shape == pictures.shape


def test_an_outcome_is_that_of_invert_and_compared_with_the_whole_picture(bundle: Bundle) -> None:
    pictures = own_samples(bundle, 9, seed=1).pictures  # more than one batch
    plain = run_variant(bundle, parse_variant("optimize", bundle, steps=2), pictures)
    assert plain.pictures.shape == pictures.shape
    assert plain.latents.shape == (9, bundle.generator.num_layers, bundle.generator.w_dim)
    assert len(plain.metrics) == 9
    assert plain.steps == 2
    made = bundle.generator.synthesize(plain.latents).clamp(-1, 1)
    assert torch.allclose(made, plain.pictures, atol=1e-5)
    errors = (plain.pictures - pictures).square().mean(dim=(1, 2, 3)).tolist()
    assert [one["mse"] for one in plain.metrics] == pytest.approx(errors)

    masked = run_variant(bundle, parse_variant("optimize masked", bundle, steps=2), pictures)
    errors = (masked.pictures - pictures).square().mean(dim=(1, 2, 3)).tolist()
    assert [one["mse"] for one in masked.metrics] == pytest.approx(errors)
    assert not torch.allclose(masked.pictures, plain.pictures, atol=1e-3)


def test_half_grey_hides_the_right_half() -> None:
    pictures = torch.ones(2, 3, 4, 6)
    hidden = half_grey(pictures)
    assert (hidden[..., :3] == 1).all()
    assert (hidden[..., 3:] == 0).all()
    assert (pictures == 1).all()

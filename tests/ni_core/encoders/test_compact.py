"""The compact encoder: e4e, pSp and ReStyle by its configuration."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ni_core.encoders import Encoder, Pass, encoder_kind
from ni_core.encoders.compact import CompactConfig, CompactEncoder
from ni_core.encoders.protocol import fit_rendering
from ni_core.errors import GeneratorMismatchError, InvalidOptionError
from ni_core.generators import StyleGAN2, tiny_generator

PSP = CompactConfig(6, 32, resolution=32, hidden=8)
E4E = replace(PSP, progressive=True)
RESTYLE = replace(PSP, refines=True, iterations=3)


def make(config: CompactConfig) -> CompactEncoder:
    """An encoder whose rows all differ, with a mean of W of its own."""
    torch.manual_seed(0)
    encoder = CompactEncoder(config)
    for layer in (encoder.base, encoder.bends):
        torch.nn.init.normal_(layer.weight)
    encoder.w_avg.normal_()
    encoder.basis.mul_(0.5)
    return encoder.freeze()


@pytest.fixture
def generator() -> StyleGAN2:
    return tiny_generator()


def pictures(n: int = 2, side: int = 32) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("config", "kind"), [(PSP, "psp"), (E4E, "e4e"), (RESTYLE, "restyle")])
def test_it_is_an_encoder_of_the_kind_its_configuration_says(
    config: CompactConfig, kind: str, generator: StyleGAN2
) -> None:
    encoder = make(config)
    assert isinstance(encoder, Encoder)
    assert encoder_kind(encoder.family, config) == kind
    latents = encoder.encode(pictures(side=40), generator)
    assert latents.shape == (2, 6, 32)
    assert torch.equal(latents, encoder.encode(pictures(side=40), generator))
    assert not latents.requires_grad


def test_a_fresh_one_gives_the_mean_of_w() -> None:
    encoder = CompactEncoder(PSP).freeze()
    encoder.w_avg.normal_()
    assert torch.equal(encoder.encode(pictures()), encoder.w_avg.expand(2, -1, -1))


def test_offsets_are_rows_in_units_of_the_spread_of_w() -> None:
    encoder = make(PSP)
    rows = encoder.rows(pictures())
    assert torch.equal(encoder.offsets(pictures()), rows @ encoder.basis)
    assert torch.equal(encoder.encode(pictures()), encoder.w_avg + rows @ encoder.basis)


def test_rows_above_the_stage_keep_the_first_one() -> None:
    encoder = make(E4E)
    whole = encoder.encode(pictures()) - encoder.w_avg
    early = encoder.encode(pictures(), stage=2) - encoder.w_avg
    torch.testing.assert_close(early[:, :3], whole[:, :3])
    torch.testing.assert_close(early[:, 3:], whole[:, :1].expand(-1, 3, -1))
    assert torch.equal(encoder.encode(pictures(), stage=5), encoder.encode(pictures()))


@pytest.mark.parametrize(("config", "stage"), [(PSP, 0), (PSP, 1), (E4E, 6), (E4E, -1)])
def test_a_stage_that_is_not_there_is_refused(config: CompactConfig, stage: int) -> None:
    with pytest.raises(InvalidOptionError, match=f"stage is {stage}"):
        make(config).encode(pictures(), stage=stage)


def test_each_pass_compares_the_picture_with_that_of_the_last_guess(generator: StyleGAN2) -> None:
    encoder, seen = make(RESTYLE), list[Pass]()
    latents = encoder.encode(pictures(), generator, on_pass=seen.append)
    assert [(done.step, done.steps) for done in seen] == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(seen[-1].latents, latents)
    shown = fit_rendering(seen[1].images(), encoder.input_shape)
    joined = torch.cat([pictures(), shown], dim=1)
    torch.testing.assert_close(latents, seen[1].latents + encoder.offsets(joined))
    vectors = encoder.trunk.vector(pictures()) - encoder.trunk.vector(shown)
    torch.testing.assert_close(encoder.features(joined), vectors * encoder.scale)


def test_passes_can_go_on_from_a_start(generator: StyleGAN2) -> None:
    encoder = make(RESTYLE)
    first = encoder.encode(pictures(), generator, steps=1)
    rest = encoder.encode(pictures(), generator, steps=2, start=first)
    torch.testing.assert_close(rest, encoder.encode(pictures(), generator))
    mean = encoder.w_avg.expand(2, -1, -1)
    torch.testing.assert_close(encoder.encode(pictures(), generator, steps=1, start=mean), first)


def test_what_needs_more_than_one_pass_is_refused_of_an_encoder_that_has_one() -> None:
    with pytest.raises(InvalidOptionError, match="steps is 2"):
        make(PSP).encode(pictures(), steps=2)
    with pytest.raises(InvalidOptionError, match="cannot refine a start"):
        make(PSP).encode(pictures(), start=torch.zeros(2, 6, 32))


def test_one_that_refines_needs_a_generator_with_its_rows(generator: StyleGAN2) -> None:
    with pytest.raises(GeneratorMismatchError, match="needs its generator"):
        make(RESTYLE).encode(pictures())
    with pytest.raises(GeneratorMismatchError, match=r"\[5, 32\].*\[6, 32\]"):
        make(replace(RESTYLE, num_layers=5)).encode(pictures(), generator)


def test_a_side_too_small_for_the_trunk_is_refused() -> None:
    with pytest.raises(ValueError, match="resolution 16 is below 17"):
        replace(PSP, resolution=16)


def test_weights_in_half_precision_stay_below_six_megabytes() -> None:
    widest = CompactEncoder(CompactConfig(10, 128, refines=True, iterations=5))
    assert sum(2 * tensor.numel() for tensor in widest.state_dict().values()) < 6_000_000

"""The latent mapper: both architectures, all spaces, masks, and what it refuses."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.encoders import Encoder, Pass, build_encoder, encoder_kind, read_encoder_config
from ni_core.encoders.frozen import FeaturesConfig
from ni_core.encoders.mapper import LatentMapper, MapperConfig
from ni_core.errors import BrokenBundleError, GeneratorMismatchError, InvalidOptionError
from ni_core.generators import Generator, build_generator, tiny_generator
from ni_core.generators.families import FAMILIES
from tests.bundles import Z_ONLY

FEATURES = FeaturesConfig(side=16, widths=(4, 6, 8))
W_PLUS = MapperConfig("w+", 6, 32, 32, hidden=8, level=4, features=FEATURES)
PLAIN = replace(W_PLUS, architecture="plain")


def make(config: MapperConfig) -> LatentMapper:
    torch.manual_seed(0)
    mapper = LatentMapper(config)
    mapper.latent_mean.normal_()
    return mapper.freeze()


def pictures(n: int = 2, side: int = 16) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def z_only() -> Generator:
    torch.manual_seed(0)
    network = FAMILIES["pggan"].network(Z_ONLY)
    return build_generator("pggan", Z_ONLY, network.state_dict())


@pytest.mark.parametrize("config", [W_PLUS, PLAIN])
def test_it_is_an_encoder_of_one_pass(config: MapperConfig) -> None:
    mapper, seen = make(config), list[Pass]()
    assert isinstance(mapper, Encoder)
    assert encoder_kind(mapper.family, config) == "mapper"
    latents = mapper.encode(pictures(side=32), tiny_generator(), on_pass=seen.append)
    assert latents.shape == (2, 6, 32)
    assert not latents.requires_grad
    assert [(one.step, one.steps) for one in seen] == [(1, 1)]
    assert seen[0].images().shape == (2, 3, 16, 16)


def test_each_picture_of_a_batch_is_alone() -> None:
    mapper, given = make(W_PLUS), pictures(3)
    torch.testing.assert_close(mapper.encode(given)[1:2], mapper.encode(given[1:2]))


def test_rows_of_a_mapper_to_w_are_equal() -> None:
    mapper = make(replace(W_PLUS, space="w"))
    latents = mapper.encode(pictures(), tiny_generator())
    assert torch.equal(latents, mapper.map(pictures())[:, None].expand(-1, 6, -1))


def test_a_mapper_to_z_goes_through_the_generators_mapping() -> None:
    mapper, generator = make(replace(W_PLUS, space="z")), tiny_generator()
    z = mapper.map(pictures())
    assert z.shape == (2, 32)
    expected = generator.broadcast(generator.map(z))
    assert torch.equal(mapper.encode(pictures(), generator), expected)
    assert mapper.space == "w+"
    with pytest.raises(GeneratorMismatchError, match="needs its generator"):
        mapper.encode(pictures())
    mapper.generator = generator
    assert torch.equal(mapper.encode(pictures()), expected)


def test_without_w_the_result_is_z() -> None:
    generator = z_only()
    mapper = make(MapperConfig("z", 0, 0, 24, hidden=8, level=4, features=FEATURES))
    seen = list[Pass]()
    latents = mapper.encode(pictures(), generator, on_pass=seen.append)
    assert (mapper.space, latents.shape) == ("z", (2, 24))
    assert seen[0].images().shape == (2, 3, 16, 16)
    assert torch.equal(mapper.encode(pictures()), latents)


def test_the_configuration_and_all_weights_survive_json_and_half_precision() -> None:
    mapper = make(W_PLUS)
    config = read_encoder_config("mapper", json.loads(json.dumps(asdict(W_PLUS))))
    assert config == W_PLUS
    halves = {key: value.half().to(value.dtype) for key, value in mapper.state_dict().items()}
    loaded = build_encoder("mapper", config, halves)
    torch.testing.assert_close(
        loaded.encode(pictures()), mapper.encode(pictures()), atol=0.01, rtol=0.01
    )


def test_features_and_latents_are_brought_to_their_spread() -> None:
    mapper = make(PLAIN)
    read = mapper.read(pictures())
    mapper.feature_mean.copy_(read[0])
    with torch.no_grad():
        plain = mapper.head(torch.zeros(1, 8)).reshape(6, 32)
    torch.testing.assert_close(mapper.whitened(read)[0], plain)
    mapper.latent_basis.mul_(2)
    torch.testing.assert_close(mapper.coloured(plain[None])[0], 2 * plain + mapper.latent_mean)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"steps": 2}, "steps is 2"), ({"stage": 1}, "stage is 1"), ({"start": None}, "refine")],
)
def test_what_needs_several_passes_is_refused(options: dict[str, Any], match: str) -> None:
    if "start" in options:
        options = {"start": torch.zeros(2, 6, 32)}
    with pytest.raises(InvalidOptionError, match=match):
        make(W_PLUS).encode(pictures(), **options)


def test_a_generator_of_other_latents_is_refused() -> None:
    with pytest.raises(GeneratorMismatchError, match=r"\[5, 32\].*\[6, 32\]"):
        make(replace(W_PLUS, num_layers=5)).encode(pictures(), tiny_generator())
    z_mapper = make(MapperConfig("z", 0, 0, 23, hidden=8, level=4, features=FEATURES))
    with pytest.raises(GeneratorMismatchError, match=r"z of 23 numbers, .* takes 24"):
        z_mapper.encode(pictures(), z_only())


def test_several_levels_of_a_network_without_maps_are_refused() -> None:
    blind = FeaturesConfig("timm:any", 16, (), output=8)
    with pytest.raises(BrokenBundleError, match=r"timm:any has no inner maps.*plain"):
        replace(W_PLUS, features=blind)
    assert replace(PLAIN, features=blind).levels == (8,)

"""The first StyleGAN and PGGAN as generators: what the protocol promises."""

from dataclasses import asdict, replace
from typing import cast

import pytest
import torch
from torch import Tensor

from ni_core.errors import BrokenBundleError, InvalidLayersError, SpaceNotAvailableError
from ni_core.generators import Generator, build_generator, read_config, sample_z, to_synthesis_input
from ni_core.generators.families import FAMILIES
from ni_core.generators.pggan import PGGAN, PGGANConfig
from ni_core.generators.stylegan1 import StyledLayer, StyleGAN1, StyleGAN1Config

SMALL = StyleGAN1Config(16, z_dim=6, w_dim=5, mapping_layers=2, channels=(4, 4, 3))
LAYOUTS = {
    "per convolution": SMALL,
    "per resolution": replace(SMALL, block_rows=1, bias_before_blur=True, epsilon=1e-5),
    "mapped rows": replace(SMALL, row_mapping=True, mapping_width=7, tanh=True),
    "fading in": replace(SMALL, previous_rgb=0.5),
}
PROGRESSIVE = PGGANConfig(16, z_dim=6, channels=(4, 4, 3))


def made(config: StyleGAN1Config) -> StyleGAN1:
    torch.manual_seed(0)
    network = StyleGAN1(config)
    for layer in cast("list[StyledLayer]", list(network.layers)):
        torch.nn.init.constant_(layer.noise_strength, 0.3)
    return network.freeze()


@pytest.fixture(params=LAYOUTS)
def generator(request: pytest.FixtureRequest) -> StyleGAN1:
    return made(LAYOUTS[request.param])


@pytest.fixture
def pggan() -> PGGAN:
    torch.manual_seed(0)
    return PGGAN(PROGRESSIVE).freeze()


@pytest.mark.parametrize("config", [*LAYOUTS.values(), PROGRESSIVE], ids=[*LAYOUTS, "pggan"])
def test_a_generator_is_rebuilt_from_its_configuration_and_tensors(
    config: StyleGAN1Config | PGGANConfig,
) -> None:
    family = "pggan" if isinstance(config, PGGANConfig) else "stylegan1"
    network = FAMILIES[family].network(config)
    rebuilt = build_generator(family, read_config(family, asdict(config)), network.state_dict())
    assert isinstance(rebuilt, Generator)
    z = sample_z(rebuilt, 2, seed=1)
    ours = to_synthesis_input(rebuilt, z, "z")
    assert torch.equal(rebuilt.synthesize(ours), cast(Generator, network).synthesize(ours).detach())


def test_every_sample_of_a_batch_is_rendered_by_itself(generator: StyleGAN1) -> None:
    w_plus = torch.randn(3, generator.num_layers, 5)
    images = generator.synthesize(w_plus)
    assert images.shape == (3, 3, 16, 16)
    for index in range(3):
        alone = generator.synthesize(w_plus[index : index + 1])
        torch.testing.assert_close(alone[0], images[index], atol=1e-4, rtol=0)


def test_noise_can_be_stored_random_given_or_left_out(generator: StyleGAN1) -> None:
    w_plus = torch.randn(1, generator.num_layers, 5)
    stored = generator.synthesize(w_plus)
    maps = [generator.get_buffer(f"noise_{row}")[None, None] for row in range(len(w_plus[0]))]
    assert torch.equal(generator.synthesize(w_plus, maps), stored)
    assert torch.equal(generator.synthesize(w_plus), stored)
    fresh = [generator.synthesize(w_plus, "random") for _ in range(2)]
    assert not torch.equal(fresh[0], fresh[1])
    blank = [torch.zeros(1, 1, *shape) for shape in generator.noise_shapes]
    torch.testing.assert_close(
        generator.synthesize(w_plus, "none"), generator.synthesize(w_plus, blank)
    )


def test_a_row_changes_no_layer_before_it(generator: StyleGAN1) -> None:
    w_plus = torch.randn(1, generator.num_layers, 5)
    edited = w_plus.clone()
    edited[:, -1] += 1
    features: list[list[Tensor]] = [[], []]
    for latent, kept in zip((w_plus, edited), features, strict=True):
        hooks = [
            layer.register_forward_hook(lambda _, __, x, kept=kept: kept.append(x))
            for layer in generator.layers
        ]
        generator.synthesize(latent)
        for hook in hooks:
            hook.remove()
    same = [torch.equal(*pair) for pair in zip(*features, strict=True)]
    reading = 2 // generator.config.block_rows
    assert same == [True] * (6 - reading) + [False] * reading


def test_style_weights_of_a_row_are_those_of_the_layers_that_read_it(
    generator: StyleGAN1,
) -> None:
    share = 2 // generator.config.block_rows
    layers = cast("list[StyledLayer]", list(generator.layers))
    weights = generator.style_weights((1,))
    assert torch.equal(
        weights.T, torch.cat([layer.affine.weight for layer in layers[share : 2 * share]])
    )
    assert generator.style_weights(range(generator.num_layers)).shape == (5, 2 * 2 * 11)
    with pytest.raises(InvalidLayersError):
        generator.style_weights((generator.num_layers,))


def test_gradients_reach_latents_and_noise_but_not_weights(generator: StyleGAN1) -> None:
    w_plus = torch.randn(1, generator.num_layers, 5, requires_grad=True)
    maps = [torch.randn(1, 1, *shape, requires_grad=True) for shape in generator.noise_shapes]
    generator.synthesize(w_plus, maps).square().sum().backward()
    assert w_plus.grad is not None
    assert bool((w_plus.grad.abs().sum(dim=2) > 0).all())
    assert all(one.grad is not None for one in maps)
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_a_mapping_that_makes_rows_has_no_space_w() -> None:
    generator = made(LAYOUTS["mapped rows"])
    assert generator.spaces == {"z", "w+"}
    generator.w_avg.copy_(torch.randn(5))
    rows = generator.map(torch.randn(2, 6))
    assert rows.shape == (2, 6, 5)
    truncated = generator.broadcast(rows, 0.5, cutoff=4)
    assert torch.equal(truncated[:, 4:], rows[:, 4:])
    torch.testing.assert_close(truncated[:, :4], (rows[:, :4] + generator.w_avg) / 2)
    with pytest.raises(SpaceNotAvailableError):
        to_synthesis_input(generator, torch.randn(2, 5), "w")


def test_a_tanh_bounds_the_picture() -> None:
    generator = made(LAYOUTS["mapped rows"])
    picture = generator.synthesize(100 * torch.randn(1, 6, 5))
    assert float(picture.abs().max()) <= 1


def test_scale_of_z_does_not_matter_to_pggan(pggan: PGGAN) -> None:
    pggan.double()  # so that the processor's rounding does not decide
    z = sample_z(pggan, 2, seed=0).double()
    torch.testing.assert_close(pggan.synthesize(5 * z), pggan.synthesize(z), atol=1e-5, rtol=0)


def test_pggan_has_no_w_and_says_so(pggan: PGGAN) -> None:
    assert (pggan.spaces, pggan.num_layers, pggan.w_dim) == ({"z"}, 0, 0)
    assert pggan.w_avg.numel() == 0
    for hop in (pggan.map, pggan.broadcast):
        with pytest.raises(SpaceNotAvailableError, match="pggan has no space w"):
            hop(torch.zeros(1, 6))
    assert pggan.style_weights(()).shape == (6, 4 * 16)
    with pytest.raises(InvalidLayersError, match="no rows"):
        pggan.style_weights((0,))


def test_gradients_reach_z_of_pggan(pggan: PGGAN) -> None:
    z = torch.randn(2, 6, requires_grad=True)
    pggan.synthesize(z).square().sum().backward()
    assert z.grad is not None
    assert bool(z.grad.abs().sum(dim=1).gt(0).all())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 24}, "do not fit 24 px"),
        ({"channels": (4, 4)}, "do not fit 16 px"),
        ({"channels": ()}, "do not fit 16 px"),
        ({"previous_rgb": 1.0}, "share 1.0"),
        ({"previous_rgb": -0.5}, "share -0.5"),
        ({"resolution": 4, "channels": (4,), "previous_rgb": 0.5}, "share 0.5"),
        ({"block_rows": 3}, "3 rows"),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BrokenBundleError, match=message):
        read_config("stylegan1", asdict(SMALL) | changes)

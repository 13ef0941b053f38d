"""StyleGAN2 against the formulation of the paper, and the rules of the protocol."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.errors import BrokenBundleError, InvalidLatentError, SpaceNotAvailableError
from ni_core.generators import (
    Generator,
    StyleGAN2,
    StyleGAN2Config,
    require_space,
    tiny_generator,
    to_synthesis_input,
)
from ni_core.generators.stylegan2_config import Architecture
from tests.ni_core.generators.textbook import Textbook


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return tiny_generator()


@pytest.fixture(scope="module")
def w_plus(generator: StyleGAN2) -> Tensor:
    z = torch.randn(3, generator.z_dim, generator=torch.Generator().manual_seed(1))
    w = generator.map(z)
    return generator.broadcast(w) + 0.1 * torch.arange(6)[None, :, None]


def random_generator(config: StyleGAN2Config) -> StyleGAN2:
    """Random weights with visible noise and biases, so that nothing is hidden behind a zero."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = StyleGAN2(config)
        for name, parameter in generator.named_parameters():
            if name.endswith("bias") or "noise_strength" in name:
                torch.nn.init.normal_(parameter, mean=float("affine" in name), std=0.3)
    return generator.freeze()


SMALL = StyleGAN2Config(32, z_dim=12, w_dim=10, mapping_layers=3, channels=(12, 16, 8, 6))
VARIANTS: dict[str, dict[str, Any]] = {
    "skip": {},
    "residual": {"architecture": "residual"},
    "plain": {"architecture": "plain"},
    "no noise": {"noise": False},
    "clamp": {"clamp": 0.8},
    "residual with clamp": {"architecture": "residual", "clamp": 0.8},
    "grey": {"image_channels": 1},
    **{
        f"filter of {len(taps)} in {architecture}": {"filter": taps, "architecture": architecture}
        for taps in (
            (1.0,),
            (1.0, 2.0),
            (1.0, 2.0, 1.0),
            (1.0, 2.0, 3.0, 1.0),
            (1.0, 3.0, 3.0, 1.0, -1.0),
            (0.1, 0.2, 0.4, 0.5, 0.3, 0.2, 0.1, -0.1),
        )
        for architecture in ("skip", "residual")
    },
}


def random_w_plus(generator: StyleGAN2, n: int = 3) -> Tensor:
    source = torch.Generator().manual_seed(2)
    return torch.randn(n, generator.num_layers, generator.w_dim, generator=source)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_synthesis_equals_the_textbook_formulation(options: dict[str, Any]) -> None:
    generator = random_generator(dataclasses.replace(SMALL, **options))
    w_plus = random_w_plus(generator)
    theirs = Textbook(generator.config, generator.state_dict()).synthesize(w_plus)
    ours = generator.synthesize(w_plus)
    torch.testing.assert_close(ours, theirs, atol=2e-6 * float(theirs.abs().max()), rtol=0)
    assert ours.shape == (3, 3, 32, 32)
    assert ours.std() > 0.1


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_gradients_equal_those_of_the_textbook_formulation(options: dict[str, Any]) -> None:
    generator = random_generator(dataclasses.replace(SMALL, **options))
    textbook = Textbook(generator.config, generator.state_dict())
    w_plus = random_w_plus(generator).requires_grad_()
    ours, theirs = (
        torch.autograd.grad(side.synthesize(w_plus).square().sum(), w_plus)[0]
        for side in (generator, textbook)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=0)


@pytest.mark.parametrize(
    "options", [{}, {"mapping_width": 7}, {"num_classes": 4}, {"num_classes": 4, "embed_dim": 5}]
)
def test_mapping_equals_the_textbook_formulation(options: dict[str, Any]) -> None:
    generator = random_generator(dataclasses.replace(SMALL, **options))
    z, labels = torch.randn(3, 12), torch.tensor([3, 0, 2])
    rows = torch.eye(4)[labels] if generator.num_classes else None
    theirs = Textbook(generator.config, generator.state_dict()).map(z, rows)
    torch.testing.assert_close(generator.map(z, labels), theirs, atol=1e-6, rtol=1e-5)


def test_labels_are_indexes_or_rows_and_class_0_without_them() -> None:
    generator = random_generator(dataclasses.replace(SMALL, num_classes=4))
    z = torch.randn(2, 12)
    second = generator.map(z, torch.tensor([1, 1]))
    assert torch.equal(second, generator.map(z, torch.eye(4)[[1, 1]]))
    assert torch.equal(generator.map(z), generator.map(z, torch.tensor([0, 0])))
    assert not torch.allclose(second, generator.map(z), atol=1e-3)
    with pytest.raises(InvalidLatentError, match="from 0 to 3"):
        generator.map(z, torch.tensor([0, 4]))


def test_a_picture_does_not_depend_on_its_batch(generator: StyleGAN2, w_plus: Tensor) -> None:
    together = generator.synthesize(w_plus)
    alone = torch.cat([generator.synthesize(row[None]) for row in w_plus])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_freezing_changes_no_picture(generator: StyleGAN2, w_plus: Tensor) -> None:
    thawed = StyleGAN2(generator.config)
    thawed.load_state_dict(generator.state_dict())
    torch.testing.assert_close(
        thawed.synthesize(w_plus).detach(), generator.synthesize(w_plus), atol=1e-6, rtol=0
    )


def test_each_row_of_w_plus_changes_the_picture(generator: StyleGAN2, w_plus: Tensor) -> None:
    before = generator.synthesize(w_plus)
    for row in range(generator.num_layers):
        moved = w_plus.clone()
        moved[:, row] += 1
        assert (generator.synthesize(moved) - before).abs().max() > 1e-3, row


def test_the_kinds_of_noise(generator: StyleGAN2, w_plus: Tensor) -> None:
    const = generator.synthesize(w_plus, noise="const")
    assert torch.equal(const, generator.synthesize(w_plus, noise="const"))
    assert not torch.equal(const, generator.synthesize(w_plus, noise="none"))
    assert not torch.equal(
        generator.synthesize(w_plus, noise="random"), generator.synthesize(w_plus, noise="random")
    )
    zeros = [torch.zeros(1, 1, *shape) for shape in generator.noise_shapes]
    torch.testing.assert_close(
        generator.synthesize(w_plus, noise=zeros), generator.synthesize(w_plus, noise="none")
    )


def test_noise_shapes_are_those_of_the_layers() -> None:
    generator = StyleGAN2(StyleGAN2Config(64, 8, 8, 1, (8, 8, 8, 8, 8)))
    assert [side for side, _ in generator.noise_shapes] == [4, 8, 8, 16, 16, 32, 32, 64, 64]
    assert generator.num_layers == 10


def test_psi_one_is_identity_and_psi_zero_is_the_average(generator: StyleGAN2) -> None:
    w = generator.map(torch.randn(2, generator.z_dim))
    assert torch.equal(generator.broadcast(w, 1.0)[:, 3], w)
    assert torch.equal(generator.broadcast(w, 0.0)[:, 3], generator.w_avg.expand(2, -1))
    half = (generator.w_avg + w) / 2
    torch.testing.assert_close(generator.broadcast(w, 0.5)[:, 0], half)


def test_mapping_sees_only_the_direction_of_z(generator: StyleGAN2) -> None:
    z = torch.randn(2, generator.z_dim)
    torch.testing.assert_close(generator.map(z), generator.map(5 * z), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_gradients_reach_the_latent_from_each_space(generator: StyleGAN2, space: str) -> None:
    shapes = {"z": (2, 32), "w": (2, 32), "w+": (2, 6, 32)}
    latents = torch.randn(shapes[space], requires_grad=True)
    known = require_space(generator, space)
    generator.synthesize(to_synthesis_input(generator, latents, known)).square().sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0


def test_the_tiny_generator_keeps_the_protocol(generator: StyleGAN2) -> None:
    assert isinstance(generator, Generator)


def test_style_weights_join_the_channels_of_the_rows(generator: StyleGAN2) -> None:
    assert generator.style_weights([0, 1, 2]).shape == (32, 32 + 32 + 32)
    last = generator.to_rgbs[-1].conv.affine.weight
    assert torch.equal(generator.style_weights([5]), last.T)


def test_an_unknown_space_is_named_with_those_there_are(generator: StyleGAN2) -> None:
    with pytest.raises(SpaceNotAvailableError, match=r"'s' is not one of .* z, w, w\+"):
        require_space(generator, "s")


def test_latents_of_the_wrong_shape_are_refused(generator: StyleGAN2) -> None:
    with pytest.raises(InvalidLatentError, match=r"\[5, 32\].*\[6, 32\]"):
        to_synthesis_input(generator, torch.zeros(1, 5, 32), "w+")


@pytest.mark.parametrize(("resolution", "channels"), [(4, (8,)), (48, (8,) * 4), (16, (8, 8))])
def test_an_impossible_architecture_is_refused(resolution: int, channels: tuple[int, ...]) -> None:
    with pytest.raises(BrokenBundleError):
        StyleGAN2Config(resolution, channels=channels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "orig"}, "'orig' is not one of skip, residual, plain"),
        ({"filter": ()}, "1 to 64 taps"),
        ({"filter": (1.0,) * 65}, "1 to 64 taps"),
        ({"filter": (1.0, -1.0)}, "sum is not 0"),
        ({"image_channels": 4}, "4 image channels"),
        ({"mapping_layers": 0}, "0 mapping layers"),
    ],
)
def test_an_impossible_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BrokenBundleError, match=message):
        dataclasses.replace(SMALL, **options)


@pytest.mark.parametrize("architecture", ["skip", "residual", "plain"])
def test_every_parameter_has_a_learning_rate_factor(architecture: Architecture) -> None:
    config = dataclasses.replace(SMALL, architecture=architecture, num_classes=4)
    generator = StyleGAN2(config)
    assert set(generator.parameter_gains()) == {name for name, _ in generator.named_parameters()}
    assert generator.parameter_gains()["mapping.embed.weight"] == 0.5


def test_an_adam_step_with_gains_equals_one_with_an_equalised_learning_rate() -> None:
    generator = StyleGAN2(StyleGAN2Config(8, 16, 16, 2, (16, 8)))
    gains = generator.parameter_gains()
    assert set(gains) == {name for name, _ in generator.named_parameters()}
    assert gains["layers.1.conv.weight"] == pytest.approx(1 / math.sqrt(16 * 9))
    assert gains["mapping.layers.0.weight"] == pytest.approx(0.01 / 4)

    weight = generator.layers[1].conv.weight
    raw = torch.nn.Parameter(weight.detach() / gains["layers.1.conv.weight"])
    direct = torch.optim.Adam([weight], lr=0.1 * gains["layers.1.conv.weight"], eps=1e-12)
    equalised = torch.optim.Adam([raw], lr=0.1, eps=1e-12)
    target = torch.randn_like(weight)
    (weight * target).sum().backward()
    (raw * gains["layers.1.conv.weight"] * target).sum().backward()
    direct.step()
    equalised.step()
    torch.testing.assert_close(weight.detach(), raw.detach() * gains["layers.1.conv.weight"])


def test_wide_layers_give_the_textbook_picture_and_gradient() -> None:
    """They use another algorithm once they are frozen, and the plain one while they are trained."""
    generator = random_generator(StyleGAN2Config(32, 8, 8, 1, channels=(128, 128, 128, 128)))
    assert generator.layers[-1].conv.fast  # type: ignore[union-attr]
    textbook = Textbook(generator.config, generator.state_dict())
    w_plus = random_w_plus(generator, 2).requires_grad_()
    for unfreeze in (False, True):
        generator.requires_grad_(unfreeze)
        ours, theirs = generator.synthesize(w_plus), textbook.synthesize(w_plus)
        torch.testing.assert_close(ours, theirs, atol=3e-5 * float(theirs.detach().std()), rtol=0)
        ours, theirs = (torch.autograd.grad(x.square().sum(), w_plus)[0] for x in (ours, theirs))
        torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=0)


def test_changed_weights_take_effect_while_they_are_trained() -> None:
    generator = random_generator(StyleGAN2Config(32, 8, 8, 1, channels=(128, 128, 128, 128)))
    generator.requires_grad_(True)
    with torch.no_grad():
        generator.layers[-1].conv.weight.mul_(torch.rand(128, 128, 1, 1))  # type: ignore[union-attr, operator]
    w_plus = random_w_plus(generator, 1)
    theirs = Textbook(generator.config, generator.state_dict()).synthesize(w_plus)
    ours = generator.synthesize(w_plus).detach()
    torch.testing.assert_close(ours, theirs, atol=3e-5 * float(theirs.detach().std()), rtol=0)
    trained = generator.freeze().synthesize(w_plus)
    torch.testing.assert_close(trained, ours, atol=3e-5 * float(theirs.detach().std()), rtol=0)

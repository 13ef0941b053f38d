"""StyleGAN2 against the formulation of the paper, and the rules of the protocol."""

import math

import pytest
import torch
import torch.nn.functional as F
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
from ni_core.generators.modulated import ModulatedConv, SynthesisLayer, ToRGB


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return tiny_generator()


@pytest.fixture(scope="module")
def w_plus(generator: StyleGAN2) -> Tensor:
    z = torch.randn(3, generator.z_dim, generator=torch.Generator().manual_seed(1))
    w = generator.map(z)
    return generator.broadcast(w) + 0.1 * torch.arange(6)[None, :, None]


def textbook_conv(layer: ModulatedConv, x: Tensor, w: Tensor) -> Tensor:
    """Equation 1 to 3 of the paper: weights scaled per sample, one group per sample."""
    n, _, height, width = x.shape
    style = w @ layer.affine.weight.T + layer.affine.bias
    weight = layer.weight[None] * style[:, None, :, None, None]
    if layer.demodulate:
        weight = weight / (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    outputs, inputs, kernel = weight.shape[1], weight.shape[2], weight.shape[3]
    grouped = weight.reshape(n * outputs, inputs, kernel, kernel)
    if not layer.up:
        x = F.conv2d(
            x.reshape(1, n * inputs, height, width), grouped, padding=kernel // 2, groups=n
        )
        return x.reshape(n, outputs, height, width)
    spread = torch.zeros(n, inputs, 2 * height - 1, 2 * width - 1)
    spread[:, :, ::2, ::2] = x
    flipped = grouped.flip(2, 3)
    spread = spread.reshape(1, n * inputs, 2 * height - 1, 2 * width - 1)
    x = F.conv2d(spread, flipped, padding=2, groups=n)
    return blur(x.reshape(n, outputs, 2 * height + 1, 2 * width + 1), padding=(1, 1), gain=4)


def blur(x: Tensor, *, padding: tuple[int, int], gain: float) -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / 64 * gain
    before, after = padding
    x = F.pad(x, (before, after, before, after))
    return F.conv2d(x, kernel.expand(x.shape[1], 1, 4, 4), groups=x.shape[1])


def textbook_synthesis(generator: StyleGAN2, w_plus: Tensor) -> Tensor:
    def convolve(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
        x = textbook_conv(layer.conv, x, w) + layer.noise_strength * layer.noise
        return F.leaky_relu(x + layer.bias[None, :, None, None], 0.2) * math.sqrt(2)

    def colour(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
        return textbook_conv(layer.conv, x, w) + layer.bias[None, :, None, None]

    x = convolve(generator.layers[0], generator.constant.repeat(len(w_plus), 1, 1, 1), w_plus[:, 0])
    rgb = colour(generator.to_rgbs[0], x, w_plus[:, 1])
    for block in range(1, len(generator.to_rgbs)):
        row = 2 * block - 1
        x = convolve(generator.layers[row], x, w_plus[:, row])
        x = convolve(generator.layers[row + 1], x, w_plus[:, row + 1])
        spread = torch.zeros(*rgb.shape[:2], *(2 * side for side in rgb.shape[2:]))
        spread[:, :, ::2, ::2] = rgb
        rgb = blur(spread, padding=(2, 1), gain=4)
        rgb = rgb + colour(generator.to_rgbs[block], x, w_plus[:, row + 2])
    return rgb


def test_synthesis_equals_the_textbook_formulation(generator: StyleGAN2, w_plus: Tensor) -> None:
    ours = generator.synthesize(w_plus)
    torch.testing.assert_close(ours, textbook_synthesis(generator, w_plus), atol=2e-5, rtol=0)
    assert ours.std() > 0.1


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

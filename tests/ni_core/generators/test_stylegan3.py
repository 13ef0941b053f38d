"""StyleGAN3 against the formulation of the paper, and the rules of the protocol."""

import dataclasses

import pytest
import torch
from torch import Tensor

from ni_core.errors import BrokenBundleError, InvalidLayersError
from ni_core.generators import Generator, alias_free
from ni_core.generators.families import empty_network
from ni_core.generators.stylegan3 import StyleGAN3, StyleGAN3Config
from tests.ni_core.generators.textbook_stylegan3 import textbook_input, textbook_synthesis

SMALL = StyleGAN3Config(
    resolution=32,
    z_dim=6,
    w_dim=8,
    channels=(6, 7, 5, 4, 3),
    first_cutoff=1.0,
    first_stopband=2.5,
    margin=3,
)
TURNING = dataclasses.replace(SMALL, kernel=1, radial=True)
CONFIGS = {
    "-t": SMALL,
    "-r": TURNING,
    "clamped": dataclasses.replace(SMALL, clamp=0.7),
    "unclamped grey": dataclasses.replace(TURNING, clamp=None, image_channels=1),
    "short filters": dataclasses.replace(SMALL, filter_size=3, output_scale=1.0, critical=1),
    "odd filters": dataclasses.replace(TURNING, filter_size=5, margin=4, critical=3),
    "no oversampling": dataclasses.replace(SMALL, oversampling=1),
    "strong oversampling": dataclasses.replace(TURNING, oversampling=4),
}


def random_generator(config: StyleGAN3Config, seed: int = 0) -> StyleGAN3:
    """Every number random, so that no order, sign or orientation goes unnoticed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = StyleGAN3(config)
        for name, tensor in generator.state_dict().items():
            if name.endswith("filter"):
                tensor.add_(torch.randn_like(tensor) * float(tensor.mean()))
            elif name.endswith(("bias", "input.affine.weight")):
                tensor.add_(torch.randn_like(tensor) * 0.3)
            elif name.endswith("input_gain"):
                tensor.copy_(torch.rand(()) + 0.5)
            elif name.endswith("transform"):
                tensor.add_(torch.randn(3, 3) * torch.tensor([0.2, 0.2, 0.0])[:, None])
    return generator.freeze()


def rows(generator: StyleGAN3, n: int = 2) -> Tensor:
    source = torch.Generator().manual_seed(5)
    return torch.randn(n, generator.num_layers, generator.w_dim, generator=source)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_picture_is_that_of_the_literal_formulation(config: StyleGAN3Config) -> None:
    generator = random_generator(config)
    w_plus = rows(generator)
    expected = textbook_synthesis(config, generator.state_dict(), w_plus)
    with torch.no_grad():
        ours = generator.synthesize(w_plus)
    assert ours.shape == (2, 3, 32, 32)
    torch.testing.assert_close(ours, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("config", [SMALL, TURNING], ids=["-t", "-r"])
def test_gradients_are_those_of_the_literal_formulation(config: StyleGAN3Config) -> None:
    generator = random_generator(config)
    ours, theirs = rows(generator, 1).requires_grad_(), rows(generator, 1).requires_grad_()
    generator.synthesize(ours)[:, :, ::3, ::5].sum().backward()
    image = textbook_synthesis(config, generator.state_dict(), theirs)
    image[:, :, ::3, ::5].sum().backward()
    # The literal input takes its transform as plain numbers, so row 0 has no gradient there.
    assert ours.grad is not None and theirs.grad is not None
    scale = float(theirs.grad.abs().max())
    torch.testing.assert_close(ours.grad[:, 1:], theirs.grad[:, 1:], atol=1e-4 * scale, rtol=0)
    assert bool((ours.grad[:, 0] != 0).any())


@pytest.mark.parametrize("config", [SMALL, TURNING], ids=["-t", "-r"])
def test_tiles_change_nothing(config: StyleGAN3Config, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random_generator(config)
    w_plus = rows(generator)
    with torch.no_grad():
        whole = generator.synthesize(w_plus)
        monkeypatch.setattr(alias_free, "_TILE_ELEMENTS", 1)
        tiled = generator.synthesize(w_plus)
    torch.testing.assert_close(tiled, whole, atol=1e-6 * float(whole.abs().max()), rtol=0)


def test_a_picture_does_not_depend_on_the_others_of_its_batch() -> None:
    generator = random_generator(SMALL)
    w_plus = rows(generator, 3) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    with torch.no_grad():
        together = generator.synthesize(w_plus)
        alone = torch.cat([generator.synthesize(one[None]) for one in w_plus])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-5)


def test_the_transform_moves_the_input_by_whole_pixels() -> None:
    generator = random_generator(SMALL)
    w = rows(generator)[:, 0]
    still = generator.input(w)
    rate = SMALL.rates[0]
    generator.input.transform @= torch.tensor([[1, 0, 2 / rate], [0, 1, 1 / rate], [0, 0, 1]])
    moved = generator.input(w)
    torch.testing.assert_close(moved[:, :, :-1, :-2], still[:, :, 1:, 2:], atol=1e-5, rtol=1e-4)


def test_the_input_is_that_of_the_literal_formulation() -> None:
    generator = random_generator(SMALL)
    w = rows(generator)[:, 0]
    expected = textbook_input(SMALL, generator.state_dict(), w)
    torch.testing.assert_close(generator.input(w), expected, atol=1e-5, rtol=1e-4)


def test_style_weights_are_those_of_what_reads_the_row() -> None:
    generator = random_generator(SMALL)
    assert isinstance(generator, Generator)
    assert generator.num_layers == 7
    torch.testing.assert_close(generator.style_weights((0,)), generator.input.affine.weight.T)
    assert generator.style_weights((1, 3)).shape == (8, 6 + 7)
    assert generator.style_weights((6,)).shape == (8, 3)
    with pytest.raises(InvalidLayersError):
        generator.style_weights((7,))


def test_labels_choose_the_class() -> None:
    generator = random_generator(dataclasses.replace(SMALL, num_classes=3, embed_dim=4))
    z = torch.randn(2, 6)
    w = generator.map(z, torch.tensor([2, 0]))
    torch.testing.assert_close(w, generator.map(z, torch.eye(3)[[2, 0]]))
    torch.testing.assert_close(w[1], generator.map(z)[1])
    assert not torch.equal(w[0], generator.map(z)[0])


def full_size(resolution: int, *, turning: bool) -> StyleGAN3Config:
    """The paper's widths: a number of features that falls with the cutoff, up to a limit."""
    factor = 2 if turning else 1
    cutoffs = StyleGAN3Config(resolution, channels=(1,) * 14).cutoffs[:-1]
    channels = tuple(round(min(16384 * factor / cutoff, 512 * factor)) for cutoff in cutoffs)
    return StyleGAN3Config(
        resolution, channels=channels, kernel=1 if turning else 3, radial=turning
    )


def test_geometry_at_full_size_is_that_of_published_networks() -> None:
    turning = full_size(128, turning=True)
    names = [f"L{i}_{layer.size}_{layer.outputs}" for i, layer in enumerate(turning.layers)]
    assert names[9:] == [
        "L9_148_1024",
        "L10_148_912",
        "L11_148_683",
        "L12_148_512",
        "L13_128_512",
        "L14_128_3",
    ]
    sizes = [layer.size for layer in full_size(512, turning=True).layers]
    assert sizes[:6] == [36, 36, 52, 52, 84, 84]
    assert sizes[-3:] == [532, 512, 512]


def test_the_largest_network_has_the_22_3_million_parameters_of_the_paper() -> None:
    network = empty_network("stylegan3", full_size(1024, turning=False))
    assert round(sum(one.numel() for one in network.parameters()) / 1e6, 1) == 22.3


@pytest.mark.parametrize(
    "fields",
    [
        {"resolution": 48, "channels": (4, 4, 4)},
        {"resolution": 64, "channels": (4, 4)},
        {"resolution": 64, "channels": (4, 4, 4), "first_cutoff": 0.0},
        {"resolution": 64, "channels": (4, 4, 4), "first_cutoff": 32.0},
    ],
    ids=["48 px", "critical layers only", "no cutoff", "cutoff of the last layer"],
)
def test_an_impossible_architecture_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BrokenBundleError):
        StyleGAN3Config(**fields)  # type: ignore[arg-type]


def test_four_channels_cannot_be_shown() -> None:
    with pytest.raises(BrokenBundleError, match="4 image channels"):
        dataclasses.replace(SMALL, image_channels=4)

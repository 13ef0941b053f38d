"""Files of rosinality/stylegan2-pytorch: reference cases, and small ones made here."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import load_generator, read_generator
from ni_core.checkpoints.rosinality import rosinality_generator
from ni_core.errors import CheckpointError
from ni_core.generators import Generator
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.ni_core.checkpoints.cases import ABSENT, OPEN, Case, cases, largest_difference, real_size
from tests.ni_core.generators.textbook import Textbook

CASES = cases("rosinality_stylegan2")
SMALL = StyleGAN2Config(32, z_dim=8, w_dim=8, mapping_layers=3, channels=(6, 6, 5, 4))


def loaded(case: Case, folder: Path) -> Generator:
    """Load the stored file of a case, or one written by its recipe."""
    stored = case.folder / "checkpoint.pt"
    if stored.exists():
        return load_generator(stored)
    torch.save({"g_ema": case.tensors(), "latent_avg": case.io["latent_avg"]}, folder / "g.pt")
    return load_generator(folder / "g.pt")


@pytest.mark.parametrize("case", CASES)
def test_reference_latents_and_pictures_are_reproduced(case: Case, tmp_path: Path) -> None:
    generator, io = loaded(case, tmp_path), case.io
    constructor = case.meta["constructor"]
    assert generator.resolution == constructor["size"]
    assert generator.z_dim == generator.w_dim == constructor["style_dim"]
    assert largest_difference(generator.map(io["z"]), io["w"]) < 1e-5
    assert largest_difference(generator.map(io["z2"]), io["w2"]) < 1e-5
    if not case.meta["training_checkpoint"]:
        assert torch.equal(generator.w_avg, io["latent_avg"])
        for psi in (0.5, 0.7):
            w_plus = generator.broadcast(io["w"], psi)
            assert largest_difference(w_plus, io[f"wplus_psi{psi}"]) < 1e-5
    maps = [io[f"explicit_noise_{index}"] for index in range(generator.num_layers - 1)]
    pictures: dict[str, tuple[str, Any]] = {
        "img_const": ("wplus", "const"),
        "img_const_psi0.7": ("wplus_psi0.7", "const"),
        "img_const_psi0.5": ("wplus_psi0.5", "const"),
        "img_zero_noise": ("wplus", "none"),
        "img_explicit_noise": ("wplus", maps),
        "mix_img_const": ("mix_wplus", "const"),
        "img_wplus_free_const": ("wplus_free", "const"),
    }
    for picture, (latent, noise) in pictures.items():
        rendered = generator.synthesize(io[latent], noise=noise)
        assert largest_difference(rendered, io[picture]) < 1e-4, picture


@pytest.mark.parametrize("case", cases("inversion_targets"))
def test_inversion_targets_are_reproduced(case: Case) -> None:
    tensors = {key: value.clone() for key, value in narrow().tensors().items()}
    for key in tensors:
        if key.startswith("to_rgb") and key.endswith((".conv.weight", "bias")):
            tensors[key] *= 1.0 if "modulation" in key else 0.4
    mean = case.io["mean_w"]
    generator = rosinality_generator(tensors, latent_avg=mean, format="test").build()
    rendered = generator.synthesize(generator.broadcast(mean))
    assert largest_difference(rendered, case.io["mean_w_image_const"]) < 1e-4
    for seed in case.meta["seeds"]:
        w = generator.map(case.io[f"z_{seed}"])
        assert largest_difference(w, case.io[f"w_{seed}"]) < 1e-5
        picture = generator.synthesize(generator.broadcast(w))
        assert largest_difference(picture, case.io[f"target_float_{seed}"]) < 1e-4


def narrow() -> Case:
    return Case(OPEN / "rosinality_stylegan2" / "narrow64")


@ABSENT
def test_edits_by_closed_form_factors_are_reproduced() -> None:
    folder = OPEN / "directions" / "rosinality_closed_form_narrow64"
    factor = torch.load(folder / "factor.pt", weights_only=True)["eigvec"]
    generator = load_generator(narrow().folder / "checkpoint.pt")
    with np.load(folder / "edits.npz") as arrays:
        edits = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    for index, degree in ((0, 5), (1, 5), (7, -3)):
        w = edits["base_w"] + degree * factor[:, index]
        rendered = generator.synthesize(generator.broadcast(w, 0.7))
        assert largest_difference(rendered, edits[f"img_const_idx{index}_deg{degree}_trunc0.7"]) < (
            1e-4
        )


def foreign_tensors(config: StyleGAN2Config, seed: int = 0) -> dict[str, Tensor]:
    """Random weights in this layout, of the sizes that its own code would make."""
    source = torch.Generator().manual_seed(seed)

    def random(*shape: int, mean: float = 0.0, scale: float = 1.0) -> Tensor:
        return mean + scale * torch.randn(*shape, generator=source)

    def convolution(name: str, inputs: int, outputs: int, side: int) -> dict[str, Tensor]:
        return {
            f"{name}.conv.weight": random(1, outputs, inputs, side, side),
            f"{name}.conv.modulation.weight": random(inputs, config.w_dim),
            f"{name}.conv.modulation.bias": random(inputs, mean=1.0, scale=0.1),
        }

    tensors = {"input.input": random(1, config.channels[0], 4, 4)}
    for index in range(config.mapping_layers):
        inputs = config.w_dim if index else config.z_dim
        tensors[f"style.{index + 1}.weight"] = random(config.w_dim, inputs, scale=100.0)
        tensors[f"style.{index + 1}.bias"] = random(config.w_dim, scale=10.0)
    taps = torch.tensor(config.filter)
    kernel = 4 * torch.outer(taps, taps) / taps.sum() ** 2
    for index in range(2 * len(config.channels) - 1):
        name = f"convs.{index - 1}" if index else "conv1"
        outputs = config.channels[(index + 1) // 2]
        tensors |= convolution(name, config.channels[index // 2], outputs, 3)
        tensors[f"{name}.noise.weight"] = random(1, scale=0.3)
        tensors[f"{name}.activate.bias"] = random(outputs, scale=0.3)
        if index % 2:
            tensors[f"{name}.conv.blur.kernel"] = kernel
        side = 4 << (index + 1) // 2
        tensors[f"noises.noise_{index}"] = random(1, 1, side, side)
    for index, inputs in enumerate(config.channels):
        name = f"to_rgbs.{index - 1}" if index else "to_rgb1"
        tensors |= convolution(name, inputs, 3, 1)
        tensors[f"{name}.bias"] = random(1, 3, 1, 1)
        if index:
            tensors[f"{name}.upsample.kernel"] = kernel
    return tensors


def textbook(config: StyleGAN2Config, theirs: dict[str, Tensor]) -> Textbook:
    """The formulas on a file's tensors, with the gains of its own code."""
    ours = {"constant": theirs["input.input"]}
    for index in range(config.mapping_layers):
        weight = theirs[f"style.{index + 1}.weight"]
        ours[f"mapping.layers.{index}.weight"] = weight * (0.01 / math.sqrt(weight.shape[1]))
        ours[f"mapping.layers.{index}.bias"] = theirs[f"style.{index + 1}.bias"] * 0.01
    layers = ["conv1", *(f"convs.{index}" for index in range(2 * len(config.channels) - 2))]
    colours = ["to_rgb1", *(f"to_rgbs.{index}" for index in range(len(config.channels) - 1))]
    for kind, names in (("layers", layers), ("to_rgbs", colours)):
        for index, name in enumerate(names):
            weight = theirs[f"{name}.conv.weight"][0]
            affine = theirs[f"{name}.conv.modulation.weight"]
            prefix = f"{kind}.{index}"
            ours[f"{prefix}.conv.weight"] = weight / math.sqrt(weight[0].numel())
            ours[f"{prefix}.conv.affine.weight"] = affine / math.sqrt(config.w_dim)
            ours[f"{prefix}.conv.affine.bias"] = theirs[f"{name}.conv.modulation.bias"]
            bias = "bias" if kind == "to_rgbs" else "activate.bias"
            ours[f"{prefix}.bias"] = theirs[f"{name}.{bias}"].flatten()
            if kind == "layers":
                ours[f"{prefix}.noise_strength"] = theirs[f"{name}.noise.weight"]
                ours[f"{prefix}.noise"] = theirs[f"noises.noise_{index}"][0, 0]
    return Textbook(config, ours)


def random_w_plus(generator: Generator) -> Tensor:
    source = torch.Generator().manual_seed(3)
    return torch.randn(2, generator.num_layers, generator.w_dim, generator=source)


def converted(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {"g_ema": tensors, "latent_avg": torch.arange(8.0)}


def trained(tensors: dict[str, Tensor]) -> dict[str, Any]:
    other = foreign_tensors(SMALL, seed=9)
    arguments = argparse.Namespace(size=32, latent=8, n_mlp=3, lr=0.002, ckpt=None)
    state = {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    parts = {"g": other, "d": {"convs.0.0.weight": torch.zeros(3, 3, 1, 1)}, "g_ema": tensors}
    return {**parts, "g_optim": state, "d_optim": state, "args": arguments, "ada_aug_p": 0.0}


def bare(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return dict(tensors)


@pytest.mark.parametrize("layout", [converted, trained, bare])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_layout_gives_the_textbook_picture(
    layout: Callable[[dict[str, Tensor]], dict[str, Any]], zipped: bool, tmp_path: Path
) -> None:
    tensors = foreign_tensors(SMALL)
    path = tmp_path / "any.name"
    torch.save(layout(tensors), path, _use_new_zipfile_serialization=zipped)
    generator = load_generator(path)
    reference = textbook(SMALL, tensors)
    z, w_plus = torch.randn(2, 8), random_w_plus(generator)
    torch.testing.assert_close(generator.map(z), reference.map(z), atol=1e-5, rtol=1e-5)
    rendered, theirs = generator.synthesize(w_plus), reference.synthesize(w_plus)
    torch.testing.assert_close(rendered, theirs, atol=1e-5 * float(theirs.std()), rtol=0)


def test_other_filters_widths_and_depths_are_read_from_the_shapes() -> None:
    config = StyleGAN2Config(64, 9, 7, 2, (5, 4, 6, 3, 2), filter=(1.0, 2.0, 1.0))
    tensors = foreign_tensors(config)
    checkpoint = rosinality_generator(tensors, latent_avg=torch.zeros(7), format="test")
    assert isinstance(checkpoint.config, StyleGAN2Config)
    assert checkpoint.config.channels == config.channels
    assert (checkpoint.config.z_dim, checkpoint.config.w_dim) == (9, 7)
    assert checkpoint.config.filter == pytest.approx((0.5, 1.0, 0.5))
    generator = checkpoint.build()
    w_plus = random_w_plus(generator)
    theirs = textbook(config, tensors).synthesize(w_plus)
    torch.testing.assert_close(
        generator.synthesize(w_plus), theirs, atol=1e-5 * float(theirs.std()), rtol=0
    )


def test_an_absent_mean_is_estimated_and_noted() -> None:
    checkpoint = rosinality_generator(foreign_tensors(SMALL), latent_avg=None, format="test")
    w = checkpoint.build().map(torch.randn(20_000, 8))
    assert largest_difference(checkpoint.tensors["w_avg"], w.mean(dim=0)) < 0.05 * float(w.std())
    assert any("mean of W" in note for note in checkpoint.notes)


def test_a_mean_repeated_over_the_rows_is_one_mean() -> None:
    mean = torch.arange(8.0)
    for shape in ((8,), (1, 8), (8, 8)):
        checkpoint = rosinality_generator(
            foreign_tensors(SMALL), latent_avg=mean.expand(shape), format="test"
        )
        assert torch.equal(checkpoint.tensors["w_avg"], mean)
    with pytest.raises(CheckpointError, match=r"latent_avg of shape \[9\]"):
        rosinality_generator(foreign_tensors(SMALL), latent_avg=torch.zeros(9), format="test")


def test_absent_noise_maps_are_seeded_and_noted() -> None:
    tensors = foreign_tensors(SMALL)
    silent = {key: value for key, value in tensors.items() if not key.startswith("noises.")}
    first, second = (
        rosinality_generator(silent, latent_avg=torch.zeros(8), format="test") for _ in range(2)
    )
    assert torch.equal(first.tensors["layers.3.noise"], second.tensors["layers.3.noise"])
    assert first.tensors["layers.3.noise"].shape == (16, 16)
    assert any("noise" in note for note in first.notes)


def test_missing_left_over_and_misshapen_keys_are_named(tmp_path: Path) -> None:
    tensors = foreign_tensors(SMALL)
    del tensors["convs.2.activate.bias"]
    tensors["surprise.weight"] = torch.zeros(1)
    tensors["noises.noise_3"] = torch.zeros(1, 1, 5, 5)
    torch.save(converted(tensors), tmp_path / "g.pt")
    with pytest.raises(CheckpointError) as caught:
        load_generator(tmp_path / "g.pt")
    for name in ("convs.2.activate.bias", "surprise.weight", "noises.noise_3"):
        assert name in str(caught.value)


@pytest.mark.parametrize("key", ["style.1.weight", "convs.0.conv.weight"])
def test_a_file_without_a_key_that_tells_the_size_is_refused(key: str) -> None:
    tensors = foreign_tensors(SMALL)
    del tensors[key]
    with pytest.raises(CheckpointError, match=key):
        rosinality_generator(tensors, latent_avg=None, format="test")


def test_a_filter_that_is_no_product_of_taps_is_refused() -> None:
    tensors = foreign_tensors(SMALL)
    tensors["convs.2.conv.blur.kernel"] = torch.rand(4, 4)
    with pytest.raises(CheckpointError, match="resampling filter"):
        rosinality_generator(tensors, latent_avg=None, format="test")


@ABSENT
@pytest.mark.parametrize("side", [256, 1024])
def test_the_keys_of_published_files_are_accepted(side: int) -> None:
    shapes = real_size(f"rosinality_stylegan2_{side}_cm2_g_ema")["tensors"]
    tensors = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernels = {key: torch.outer(taps, taps) for key in tensors if key.endswith(".kernel")}
    checkpoint = rosinality_generator(
        {**tensors, **kernels}, latent_avg=torch.zeros(512), format="test"
    )
    widths = (512, 512, 512, 512, 512, 256, 128, 64, 32)[: int(math.log2(side)) - 1]
    assert checkpoint.config == StyleGAN2Config(side, 512, 512, 8, widths)
    assert checkpoint.family == StyleGAN2.family


def test_the_format_is_recognised_from_the_content(tmp_path: Path) -> None:
    torch.save(converted(foreign_tensors(SMALL)), tmp_path / "photo.jpeg")
    assert read_generator(tmp_path / "photo.jpeg").format == "rosinality-stylegan2"

"""NVIDIA's files, written by our own code: every variant reads back to the network it came from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ni_core.checkpoints import read_generator
from ni_core.checkpoints.checkpoint import GeneratorCheckpoint
from ni_core.errors import CheckpointError
from ni_core.generators.base import GeneratorConfig
from ni_core.generators.families import FAMILIES
from ni_core.generators.stylegan2 import StyleGAN2Config
from ni_core.generators.stylegan3 import StyleGAN3Config
from tests.ni_core.checkpoints.nvidia_files import (
    Network,
    Part,
    network,
    stylegan2,
    stylegan3,
    tensorflow,
    write_pickle,
    write_torch,
)

SG2 = StyleGAN2Config(resolution=16, z_dim=6, w_dim=8, mapping_layers=2, channels=(7, 5, 3))
SG2_VARIANTS = {
    "plain skip": {},
    "residual": {"architecture": "residual"},
    "no skip": {"architecture": "plain"},
    "conditional": {"num_classes": 3, "embed_dim": 5},
    "clamped": {"clamp": 256.0},
    "grey": {"image_channels": 1},
    "no noise": {"noise": False},
    "wide mapping": {"mapping_width": 11, "mapping_layers": 3},
    "one mapping layer": {"mapping_layers": 1},
}

SG3 = StyleGAN3Config(
    resolution=32, z_dim=6, w_dim=8, channels=(6, 7, 5, 4, 3), first_stopband=5.0, margin=3
)
SG3_ARGUMENTS = {"first_stopband": 5.0, "margin_size": 3, "num_layers": 5}
SG3_VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "-t": ({}, {}),
    "-r": ({"kernel": 1, "radial": True}, {"conv_kernel": 1, "use_radial_filters": True}),
    "conditional": ({"num_classes": 3}, {}),
    "grey": ({"image_channels": 1}, {}),
    "other options": (
        {"critical": 3, "filter_size": 4, "clamp": None, "output_scale": 0.5, "oversampling": 4},
        {
            "num_critical": 3,
            "filter_size": 4,
            "conv_clamp": None,
            "output_scale": 0.5,
            "lrelu_upsampling": 4,
        },
    ),
    "other frequencies": (
        {"first_cutoff": 1.5, "last_stopband_relative": 1.5},
        {"first_cutoff": 1.5, "last_stopband_rel": 1.5},
    ),
}


def random_tensors(family: str, config: GeneratorConfig) -> dict[str, Tensor]:
    """Random numbers for every tensor of a network."""
    source = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        state = FAMILIES[family].network(config).state_dict()
    tensors = {key: torch.randn(one.shape, generator=source) for key, one in state.items()}
    for key, tensor in tensors.items():
        if key.endswith("input_gain"):
            tensor.abs_().add_(0.5)
        elif family == "stylegan3" and tensor.dim() == 4 and len(config.layers) - 1 != _index(key):
            tensor.div_(tensor.square().mean(dim=(1, 2, 3), keepdim=True).sqrt())
    return tensors


def _index(key: str) -> int:
    return int(key.split(".")[1])


def assert_same(
    read: GeneratorCheckpoint, config: GeneratorConfig, wanted: dict[str, Tensor]
) -> None:
    assert read.config == config
    assert read.notes == ()
    assert read.tensors.keys() == wanted.keys()
    for key, tensor in wanted.items():
        torch.testing.assert_close(read.tensors[key], tensor, atol=1e-6, rtol=1e-5, msg=key)
    read.build()


@pytest.mark.parametrize("fields", SG2_VARIANTS.values(), ids=SG2_VARIANTS)
def test_a_stylegan2_reads_back(fields: dict[str, Any], tmp_path: Path) -> None:
    config = dataclasses.replace(SG2, **fields)
    tensors = random_tensors("stylegan2", config)
    root = {"G": None, "D": None, "G_ema": stylegan2(config, tensors), "augment_pipe": None}
    read = read_generator(write_pickle(tmp_path / "network.pkl", root))
    assert read.format == "nvidia-stylegan2"
    assert_same(read, config, tensors)


@pytest.mark.parametrize(
    "taps", [(1.0,), (1.0, 1.0), (1.0, 2.0, 3.0, 3.0, 2.0, 1.0), (1.0,) * 8, (1.0,) * 12]
)
def test_another_filter_is_read(taps: tuple[float, ...], tmp_path: Path) -> None:
    config = dataclasses.replace(SG2, filter=taps)
    part = stylegan2(config, random_tensors("stylegan2", config))
    read = read_generator(write_pickle(tmp_path / "network.pkl", {"G_ema": part})).config
    assert isinstance(read, StyleGAN2Config)
    total = sum(read.filter) / sum(taps)
    assert [tap / total for tap in read.filter] == pytest.approx(taps)


@pytest.mark.parametrize("fields", SG2_VARIANTS.values(), ids=SG2_VARIANTS)
def test_a_tensorflow_stylegan2_reads_back(fields: dict[str, Any], tmp_path: Path) -> None:
    config = dataclasses.replace(SG2, **fields)
    tensors = random_tensors("stylegan2", config)
    options = {} if config.clamp is None else {"conv_clamp": config.clamp}
    other = network("G_main", {})
    path = write_pickle(tmp_path / "a.pkl", (other, other, tensorflow(config, tensors, **options)))
    read = read_generator(path)
    assert read.format == "tensorflow-stylegan2"
    assert_same(read, config, tensors)


@pytest.mark.parametrize(("fields", "arguments"), SG3_VARIANTS.values(), ids=SG3_VARIANTS)
def test_a_stylegan3_reads_back(
    fields: dict[str, Any], arguments: dict[str, Any], tmp_path: Path
) -> None:
    config = dataclasses.replace(SG3, **fields)
    tensors = random_tensors("stylegan3", config)
    part = stylegan3(config, tensors, SG3_ARGUMENTS | arguments)
    read = read_generator(write_pickle(tmp_path / "network.pkl", {"G_ema": part}))
    assert read.format == "nvidia-stylegan3"
    assert_same(read, config, tensors)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_a_module_saved_whole_by_torch_reads_back(zipped: bool, tmp_path: Path) -> None:
    tensors = random_tensors("stylegan2", SG2)
    path = write_torch(tmp_path / "model.pt", stylegan2(SG2, tensors), zipped=zipped)
    assert_same(read_generator(path), SG2, tensors)


def test_the_running_mean_is_preferred(tmp_path: Path) -> None:
    tensors = random_tensors("stylegan2", SG2)
    other = {key: tensor + 1 for key, tensor in tensors.items()}
    root = {"G": stylegan2(SG2, other), "G_ema": stylegan2(SG2, tensors)}
    assert_same(read_generator(write_pickle(tmp_path / "a.pkl", root)), SG2, tensors)
    assert_same(read_generator(write_pickle(tmp_path / "b.pkl", {"G": root["G"]})), SG2, other)


def test_a_missing_mean_of_w_is_estimated(tmp_path: Path) -> None:
    part = stylegan2(SG2, random_tensors("stylegan2", SG2))
    del part.children["mapping"].buffers["w_avg"]
    read = read_generator(write_pickle(tmp_path / "a.pkl", {"G_ema": part}))
    assert read.tensors["w_avg"].shape == (8,)
    assert "no mean of W" in read.notes[0]


def refused(tmp_path: Path, root: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_generator(write_pickle(tmp_path / "network.pkl", root))
    return str(caught.value)


def small_part() -> Part:
    return stylegan2(SG2, random_tensors("stylegan2", SG2))


def test_missing_and_left_over_tensors_are_named(tmp_path: Path) -> None:
    part = small_part()
    del part.children["synthesis"].children["b8"].children["conv0"].parameters["bias"]
    part.children["synthesis"].children["b16"].parameters["attention"] = torch.ones(1)
    message = refused(tmp_path, {"G_ema": part})
    assert "1 missing: synthesis.b8.conv0.bias." in message
    assert "1 left over: synthesis.b16.attention." in message


def test_a_missing_attribute_is_named(tmp_path: Path) -> None:
    part = small_part()
    del part.children["mapping"].children["fc1"].attributes["weight_gain"]
    assert "mapping.fc1 lacks weight_gain" in refused(tmp_path, {"G_ema": part})


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "number but NoneType"), ([], "number but list"), (6.5, "whole number but 6.5")],
)
def test_an_attribute_that_is_no_number_is_named(
    value: object, reason: str, tmp_path: Path
) -> None:
    part = small_part()
    part.attributes["z_dim"] = value
    assert f"z_dim is no {reason}" in refused(tmp_path, {"G_ema": part})


@pytest.mark.parametrize(
    "options",
    [{"first_cutoff": "low"}, {"first_cutoff": 0}, {"first_stopband": -1.0}, {"filter_size": None}],
    ids=str,
)
def test_options_that_make_no_network_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    part = stylegan3(SG3, random_tensors("stylegan3", SG3), SG3_ARGUMENTS | options)
    assert "cannot be read" in refused(tmp_path, {"G_ema": part})


def test_a_broken_state_is_no_generator(tmp_path: Path) -> None:
    part = small_part()
    part.attributes["_modules"] = 7
    assert "no known format" in refused(tmp_path, {"G_ema": part})
    part = small_part()
    part.children["mapping"].attributes["_parameters"] = [1]
    part.children["synthesis"].children["b4"].attributes["_buffers"] = "none"
    read = read_generator(write_pickle(tmp_path / "network.pkl", {"G_ema": part}))
    assert read.family == "stylegan2"


def test_another_activation_is_refused(tmp_path: Path) -> None:
    part = small_part()
    part.children["synthesis"].children["b8"].children["conv1"].attributes["activation"] = "swish"
    assert "synthesis.b8.conv1 has the activation 'swish'" in refused(tmp_path, {"G_ema": part})


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    part = small_part()
    part.children["synthesis"].children["b4"].attributes["architecture"] = "dense"
    message = refused(tmp_path, {"G_ema": part})
    assert "architecture 'dense' is not one of skip, resnet, orig" in message


def test_layers_that_the_options_do_not_make_are_refused(tmp_path: Path) -> None:
    part = stylegan3(SG3, random_tensors("stylegan3", SG3), {"first_stopband": 5.0})
    message = refused(tmp_path, {"G_ema": part})
    assert "L0_22_6" in message and "L0_36_6" in message


def test_a_discriminator_alone_is_no_generator(tmp_path: Path) -> None:
    assert "no known format" in refused(tmp_path, {"G_ema": Part("Discriminator")})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 3}, "of version 3 is of StyleGAN1 or older"),
        ({"version": None}, "of version None is of StyleGAN1 or older"),
        ({"build_func_name": "G_style"}, "network G_style of version 4 is of StyleGAN1"),
        ({"static_kwargs": {"normalize_latents": False}}, "normalize_latents = False"),
        ({"static_kwargs": {"nonlinearity": "relu"}}, "nonlinearity = 'relu'"),
    ],
)
def test_other_tensorflow_networks_are_refused_with_a_reason(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    made = tensorflow(SG2, random_tensors("stylegan2", SG2))
    made = Network(**{**made.state, **changes})
    assert reason in refused(tmp_path, (made, made, made))

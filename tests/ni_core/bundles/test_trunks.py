"""Trunks from files: told by their shapes, calibrated only where they are the real ones."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file

from ni_core.bundles.manifest import TRUNKS
from ni_core.bundles.trunks import read_trunk
from ni_core.errors import CheckpointError
from ni_core.perceptual import Architecture
from tests.ni_core.trunks import TORCHVISION, random_trunk


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_the_network_is_told_by_the_shapes(tmp_path: Path, architecture: Architecture) -> None:
    path = tmp_path / "some_weights.pth"
    torch.save({**random_trunk(architecture), "classifier.weight": torch.zeros(3)}, path)
    trunk = read_trunk(path)
    assert trunk.architecture == TORCHVISION[architecture]
    assert not trunk.calibrated and "not known" in trunk.notes[0]
    assert trunk.name == f"some_weights-{architecture}"
    assert all(key.startswith("features.") for key in trunk.tensors)


def test_safetensors_and_wrapped_files_are_read(tmp_path: Path) -> None:
    tensors = random_trunk("squeeze")
    save_file(tensors, tmp_path / "bare.safetensors")
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "wrapped.pth")
    for path in tmp_path.iterdir():
        found = read_trunk(path).tensors
        assert all(torch.equal(found[key], tensor) for key, tensor in tensors.items())


def test_the_user_may_say_that_the_channel_weights_fit(tmp_path: Path) -> None:
    torch.save(random_trunk("squeeze"), tmp_path / "trunk.pth")
    trunk = read_trunk(tmp_path / "trunk.pth", calibrated=True)
    assert trunk.calibrated and "user" in trunk.notes[0]
    assert "imagenet" not in trunk.name


def test_torchvisions_own_weights_are_known_by_their_digest(shared: Path) -> None:
    trunk = read_trunk(shared / "real" / "lpips_squeeze" / "squeezenet1_1_features.pth")
    assert trunk.calibrated and trunk.name == "imagenet-squeeze"


def test_one_changed_weight_is_not_torchvisions(shared: Path, tmp_path: Path) -> None:
    path = shared / "real" / "lpips_squeeze" / "squeezenet1_1_features.pth"
    tensors = torch.load(path, weights_only=True)
    tensors["features.0.bias"][0] += 1e-6
    torch.save(tensors, tmp_path / "changed.pth")
    assert not read_trunk(tmp_path / "changed.pth").calibrated


def test_a_trunk_of_another_network_than_was_said_is_refused(tmp_path: Path) -> None:
    torch.save(random_trunk("squeeze"), tmp_path / "trunk.pth")
    with pytest.raises(CheckpointError, match=r"features\.\d+\.\w+ is .*should be"):
        read_trunk(tmp_path / "trunk.pth", architecture="vgg16")


def test_a_file_without_features_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth is no trunk.*conv\.weight") as caught:
        read_trunk(tmp_path / "other.pth")
    assert caught.value.details["limit"] == list(TRUNKS)

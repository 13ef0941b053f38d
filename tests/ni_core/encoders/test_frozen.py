"""Frozen feature networks: our own, and those of other packages from a file of weights."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import VisionTransformer, squeezenet1_1
from torchvision.models.resnet import BasicBlock, ResNet

from ni_core.checkpoints.features import find_stages, load_features
from ni_core.encoders.foreign_features import Foreign
from ni_core.encoders.frozen import (
    FeaturesConfig,
    FrozenFeatures,
    build_features,
    read_features_config,
)
from ni_core.errors import BrokenBundleError, CheckpointError, InvalidOptionError
from ni_core.training.runs import write_part

OWN = FeaturesConfig(side=16, widths=(4, 6, 8))


def pictures(side: int = 16) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path: Path = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save({"state_dict": squeezenet1_1(weights=None).state_dict()}, path)
    return path


def test_our_own_gives_maps_and_their_last_mean_as_vector() -> None:
    features = FrozenFeatures(OWN).freeze()
    maps = features.maps(pictures(32))
    assert [tuple(one.shape[1:]) for one in maps] == [(6, 8, 8), (8, 4, 4)]
    assert OWN.channels == (6, 8)
    torch.testing.assert_close(features.vector(pictures(32)), maps[-1].mean(dim=(2, 3)))
    assert OWN.vector_dim == features.vector(pictures()).shape[1] == 8


def test_an_embedding_holds_each_map_with_the_same_length_and_gives_gradients_to_pictures() -> None:
    features, given = FrozenFeatures(OWN).freeze(), pictures().requires_grad_()
    embedding = features.embedding(given)
    assert embedding.shape == (2, 6 * 8 * 8 + 8 * 4 * 4)
    lengths = [part.square().sum(dim=1) for part in embedding.split([6 * 8 * 8, 8 * 4 * 4], dim=1)]
    torch.testing.assert_close(torch.stack(lengths), torch.full((2, 2), 0.5))
    (embedding * torch.arange(embedding.shape[1])).sum().backward()
    assert given.grad is not None and given.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in features.parameters())


def test_folded_the_network_gives_the_same_maps() -> None:
    torch.manual_seed(0)
    features = FrozenFeatures(OWN)
    features.maps(pictures())  # moves the statistics of its normalisation
    features.freeze()
    expected = features.maps(pictures())
    for found, wanted in zip(features.fold().maps(pictures()), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in features.modules())


def test_a_configuration_of_another_network_is_refused() -> None:
    with pytest.raises(BrokenBundleError, match="called reader, but its configuration is of cont"):
        read_features_config("reader", {"network": "contrastive"})
    with pytest.raises(BrokenBundleError, match="reader cannot be read"):
        read_features_config("reader", {"depth": 3})


def test_what_training_wrote_is_loaded_from_its_folder(tmp_path: Path) -> None:
    features = FrozenFeatures(OWN).freeze()
    write_part(
        tmp_path,
        "features",
        features.state_dict(),
        family="contrastive",
        config=OWN,
        generator=None,
        training={},
    )
    for source in (tmp_path, tmp_path / "features.safetensors"):
        loaded = load_features(source)
        assert loaded.config == OWN
        torch.testing.assert_close(
            loaded.vector(pictures()), features.vector(pictures()), atol=0.02, rtol=0.02
        )
    (tmp_path / "features.json").write_text(json.dumps({"config": {"size": 3}}))
    with pytest.raises(CheckpointError, match=r"features.json beside .* cannot be read"):
        load_features(tmp_path)


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BrokenBundleError, match="do not fit the feature network contrastive"):
        build_features(OWN, {"stem": torch.zeros(1)})


def test_a_side_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="side is 18, but must be a multiple of 4"):
        FeaturesConfig(side=18, widths=(4, 6, 8))


def test_a_network_of_torchvision_comes_from_a_state_dict(squeeze: Path) -> None:
    features = load_features("torchvision:squeezenet1_1", squeeze, side=64)
    maps = features.maps(pictures(64))
    assert tuple(one.shape[1] for one in maps) == features.config.channels
    assert features.vector(pictures(64)).shape == (2, features.config.vector_dim) == (2, 512)
    again = build_features(FeaturesConfig(**asdict(features.config)), features.state_dict())
    assert torch.equal(again.vector(pictures(64)), features.vector(pictures(64)))
    grey = features._normalised(torch.zeros(1, 3, 64, 64))[0, :, 0, 0]
    torch.testing.assert_close(grey, torch.tensor([0.0655, 0.1964, 0.4178]), atol=1e-3, rtol=0)


def test_the_stages_of_a_residual_network_are_its_groups() -> None:
    network = ResNet(BasicBlock, [1, 1, 1, 1]).eval()
    network.fc = torch.nn.Identity()  # type: ignore[assignment]
    stages, output = find_stages(network, 64)
    assert stages == {"relu": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    assert output == 512


def test_a_transformer_has_no_maps_and_gives_its_output() -> None:
    body = VisionTransformer(32, 8, 1, 2, 16, 32)
    body.heads = torch.nn.Identity()  # type: ignore[assignment]
    assert find_stages(body.eval(), 32) == ({}, 16)
    config = FeaturesConfig("torchvision:vit_b_16", 224, (), output=768)
    with torch.device("meta"):
        features = FrozenFeatures(config)
        maps, vector = features.maps_and_vector(torch.zeros(1, 3, 224, 224))
    assert (maps, vector.shape, config.vector_dim) == ([], (1, 768), 768)


def test_weights_in_a_safetensors_file_may_lack_counters(tmp_path: Path) -> None:
    network = Foreign("torchvision:resnet18")
    kept = {
        key: value
        for key, value in network.body.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_file(kept, tmp_path / "weights.safetensors")
    features = load_features("torchvision:resnet18", tmp_path / "weights.safetensors", side=32)
    assert features.config.channels == (64, 64, 128, 256)
    kept.pop("conv1.weight")
    save_file(kept, tmp_path / "cut.safetensors")
    with pytest.raises(CheckpointError, match=r"conv1.weight is missing, should be"):
        load_features("torchvision:resnet18", tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("timm:resnet18", BrokenBundleError, "needs the package timm, which is not installed"),
        ("open_clip:RN50", BrokenBundleError, "needs the package open_clip"),
        ("torchvision:resnet1", BrokenBundleError, "torchvision cannot build resnet1"),
        ("keras:resnet", BrokenBundleError, "torchvision, timm, open_clip"),
        ("nowhere", CheckpointError, "no features at nowhere"),
    ],
)
def test_what_is_not_there_is_named(
    name: str, error: type[Exception], match: str, squeeze: Path
) -> None:
    with pytest.raises(error, match=match):
        load_features(name, squeeze)


def test_a_network_of_a_package_needs_a_file_of_weights() -> None:
    with pytest.raises(InvalidOptionError, match="nothing is downloaded"):
        load_features("torchvision:resnet18")

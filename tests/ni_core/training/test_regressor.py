from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import squeezenet1_1

from ni_core.training.features import export_trunk
from ni_core.training.picture_set import FreshPictures
from ni_core.training.regressor import (
    Regressor,
    SqueezeNetRegressor,
    determination,
    load_regressor,
    save_regressor,
    shift,
    train_regressor,
)

CPU = torch.device("cpu")


def test_a_short_training_lowers_the_loss_and_repeats_exactly() -> None:
    weights, lines = [], []
    for _ in range(2):
        torch.manual_seed(0)
        network = Regressor(16)
        train_regressor(
            network,
            FreshPictures(seed=1, resolution=16, length=16),
            steps=12,
            batch=16,
            rate=4e-3,
            seed=1,
            device=CPU,
            report=lines.append,
        )
        weights.append(network.head[1].weight.detach())
    assert torch.equal(*weights)
    first, last = (float(line.split()[3]) for line in lines[:2])
    assert last < first


def test_freezing_keeps_the_function(tmp_path: Path) -> None:
    network = Regressor(32)
    with torch.no_grad():
        network(torch.randn(8, 3, 32, 32))
    pictures = torch.randn(2, 3, 32, 32)
    before = network.eval()(pictures)
    save_regressor(network, tmp_path / "critic.safetensors")
    frozen = load_regressor(tmp_path / "critic.safetensors", 32)
    torch.testing.assert_close(frozen(pictures), before, atol=1e-4, rtol=1e-4)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert [tap.shape[2] for tap in frozen.taps(pictures)] == [16, 8, 4, 2]


def test_an_untrained_network_explains_nothing() -> None:
    scores = determination(Regressor(32), seed=1, n=64, device=CPU)
    assert all(score < 0.2 for score in scores.values())


def test_the_trunk_file_fits_torchvision_and_gives_the_same_features(tmp_path: Path) -> None:
    network = SqueezeNetRegressor().eval()
    export_trunk(network, tmp_path / "trunk.safetensors")
    weights = load_file(tmp_path / "trunk.safetensors")
    assert all(value.dtype == torch.float16 for value in weights.values())
    theirs = squeezenet1_1(weights=None).eval()
    missing, unexpected = theirs.load_state_dict(
        {name: value.float() for name, value in weights.items()}, strict=False
    )
    assert not unexpected and all(name.startswith("classifier.") for name in missing)
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    assert network.extract(pictures).max() > 1
    scaled = (pictures - network.mean) / network.scale
    expected = network.extract(pictures)
    torch.testing.assert_close(theirs.features(scaled), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("most_px", [0, 3])
def test_shift_moves_whole_pictures_and_nothing_else(most_px: int) -> None:
    pictures = torch.zeros(40, 3, 16, 16)
    pictures[:, :, 8, 8] = 1
    moved = shift(pictures, most_px, torch.Generator().manual_seed(0))
    assert torch.equal(moved.sum(dim=(1, 2, 3)), torch.full((40,), 3.0))
    rows = moved[:, 0].sum(dim=2).argmax(dim=1)
    assert (rows - 8).abs().max() == most_px

from pathlib import Path

import torch
from torch import nn

from ni_core.bundles.parts import find_parts
from ni_core.checkpoints.features import load_features
from ni_core.training.features import main
from ni_core.training.judge import Judge, export_judge
from ni_core.training.picture_set import FreshPictures
from ni_core.training.regressor import train_regressor
from ni_core.training.residual_regressor import ResidualRegressor


def test_a_short_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    lines: list[str] = []
    train_regressor(
        Judge(16),
        FreshPictures(seed=2, resolution=16, length=16),
        steps=12,
        batch=16,
        rate=2e-3,
        seed=2,
        device=torch.device("cpu"),
        report=lines.append,
    )
    first, last = (float(line.split()[3]) for line in lines)
    assert last < first


def test_half_precision_keeps_what_the_judge_reads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Judge(32).eval()
    export_judge(network, tmp_path / "judge.safetensors")
    pictures = torch.randn(3, 3, 32, 32)
    loaded = Judge.load(tmp_path / "judge.safetensors", 32)
    torch.testing.assert_close(loaded(pictures), network(pictures), atol=5e-3, rtol=5e-3)
    assert loaded.extract(pictures).shape == (3, 320)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_command_trains_a_judge_on_its_own_stream(tmp_path: Path) -> None:
    arguments = ["--kind", "judge", "--out", str(tmp_path), "--resolution", "16"]
    assert main([*arguments, "--pictures", "64", "--epochs", "1"]) == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"judge.safetensors", "judge_half.safetensors", "judge.json"}
    assert Judge.load(tmp_path / "judge_half.safetensors", 16).resolution == 16


def test_the_reader_is_also_written_as_the_feature_network_of_a_bundle(tmp_path: Path) -> None:
    arguments = ["--kind", "reader", "--out", str(tmp_path), "--resolution", "16"]
    sizes = ["--pictures", "64", "--epochs", "1", "--test-pictures", "16"]
    assert main([*arguments, *sizes]) == 0
    (part,) = find_parts(tmp_path / "reader")
    assert (part.kind, part.document["family"]) == ("features", "reader")
    assert part.document["training"].keys() == {"seed", "pictures", "epochs", "r2"}
    pictures = FreshPictures(seed=2, resolution=16).take(torch.arange(2), torch.device("cpu"))
    wanted = ResidualRegressor.load(tmp_path / "reader.safetensors", 16).taps(pictures)
    for found, tap in zip(load_features(tmp_path / "reader").maps(pictures), wanted, strict=True):
        torch.testing.assert_close(found, tap, rtol=2e-2, atol=2e-2)


def test_frozen_it_reads_the_same_and_has_no_normalisation_left() -> None:
    torch.manual_seed(0)
    network = ResidualRegressor(32)
    pictures = torch.rand(8, 3, 32, 32) * 2 - 1
    network.train()(pictures)  # statistics that are not 0 and 1
    wanted = network.eval()(pictures).detach()
    torch.testing.assert_close(network.freeze()(pictures), wanted, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())

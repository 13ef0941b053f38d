from pathlib import Path

import pytest
import torch

from ni_core.generators.stylegan2 import StyleGAN2Config
from ni_core.training import generator as script
from ni_core.training.adversarial import AdversarialRun, Recipe
from ni_core.training.generator import read_checkpoint, save_checkpoint, train
from ni_core.training.picture_set import FreshPictures
from ni_core.training.regressor import Regressor, save_regressor

CONFIG = StyleGAN2Config(
    resolution=32, z_dim=8, w_dim=16, mapping_layers=2, channels=(8, 8, 8, 8), noise=False
)
RECIPE = Recipe(batch=8, settle=32, mixing=0.5, penalty_interval=2, pixel_widths=(4, 8, 8))


@pytest.fixture
def run() -> AdversarialRun:
    return make_run()


def make_run() -> AdversarialRun:
    torch.manual_seed(0)
    pictures = FreshPictures(seed=1, resolution=32, length=16)
    return AdversarialRun(CONFIG, RECIPE, pictures, Regressor(32).freeze(), torch.device("cpu"))


def test_a_resumed_run_repeats_an_uninterrupted_one_bit_by_bit(tmp_path: Path) -> None:
    straight = make_run()
    train(straight, tmp_path / "straight", pictures=40, limit=16, checkpoint_s=1e9)
    first = make_run()
    train(first, tmp_path / "halves", pictures=24, limit=16, checkpoint_s=1e9)
    second = make_run()
    second.load_state(read_checkpoint(tmp_path / "halves" / "checkpoint-00000024.pt")["run"])
    train(second, tmp_path / "halves", pictures=40, limit=16, checkpoint_s=1e9)
    ours, theirs = (
        read_checkpoint(tmp_path / folder / "checkpoint-00000040.pt")["run"]
        for folder in ("straight", "halves")
    )
    assert_equal(ours, theirs)


def assert_equal(first: object, second: object) -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list):
        for a, b in zip(first, second, strict=True):
            assert_equal(a, b)
    else:
        assert first == second


def test_both_sides_learn_and_the_average_follows(run: AdversarialRun) -> None:
    before = {n: p.detach().clone() for n, p in run.generator.named_parameters()}
    average = run.average.constant.clone()
    head = run.critic.heads[0].last.weight.detach().clone()
    run.step()
    assert any(not torch.equal(p, before[n]) for n, p in run.generator.named_parameters())
    assert not torch.equal(run.critic.heads[0].last.weight, head)
    assert not torch.equal(run.average.constant, average)
    moved = (run.average.constant - before["constant"]).abs().max()
    assert moved < (run.generator.constant - before["constant"]).abs().max()


def test_training_starts_faint_and_at_the_mean_colour_of_the_data(run: AdversarialRun) -> None:
    real = run.pictures.take(torch.arange(16), torch.device("cpu")).mean(dim=(0, 2, 3))
    torch.testing.assert_close(run.generator.to_rgbs[0].bias.detach(), real)
    assert run.sample(64).std() < 0.4


def test_the_rate_is_halved_and_styles_mixed_once_settled(run: AdversarialRun) -> None:
    z = torch.randn(8, CONFIG.z_dim)
    same = run._styles(z, torch.Generator())
    assert (same == same[:, :1]).all()
    run.seen = RECIPE.settle
    mixed = run._styles(z, torch.Generator().manual_seed(0))
    assert not (mixed == mixed[:, :1]).all()
    run.step()
    assert run.critic_optimiser.param_groups[0]["lr"] <= RECIPE.critic_rate / 2


def test_old_checkpoints_are_dropped(run: AdversarialRun, tmp_path: Path) -> None:
    for run.seen in range(0, 160, 16):
        save_checkpoint(run, tmp_path, 16)
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == script.KEPT_CHECKPOINTS and kept[-1].name == "checkpoint-00000144.pt"


def test_the_command_trains_logs_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "CONFIG", CONFIG)
    monkeypatch.setattr(script, "LOG_PICTURES", 8)
    monkeypatch.setattr(script, "load_regressor", lambda path: Regressor(32).freeze())
    monkeypatch.setattr(script, "RECIPE", RECIPE)
    save_regressor(Regressor(32), tmp_path / "critic.safetensors")
    common = [
        "--critic",
        str(tmp_path / "critic.safetensors"),
        "--out",
        str(tmp_path),
        "--batch",
        "8",
    ]
    assert script.main([*common, "--limit", "16", "--pictures", "8"]) == 0
    checkpoint = tmp_path / "checkpoint-00000008.pt"
    assert script.main([*common, "--resume", str(checkpoint), "--pictures", "16"]) == 0
    assert (tmp_path / "checkpoint-00000016.pt").exists()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2

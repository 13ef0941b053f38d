import json
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import torch

from ni_core import bundles
from ni_core.bundles import load_bundle
from ni_core.errors import InvalidOptionError
from ni_core.perceptual import Perceptual
from ni_core.training import generator as script
from ni_core.training.adversarial import AdversarialRun, Guides
from ni_core.training.checkpoint import Checkpoint, read_checkpoint
from ni_core.training.generator import Session, train
from ni_core.training.picture_set import FreshPictures
from ni_core.training.recipes import SETTINGS
from ni_core.training.regressor import Regressor, save_regressor
from ni_core.training.residual_regressor import ResidualRegressor
from ni_core.training.snapshots import list_snapshots

CONFIG, RECIPE = SETTINGS["tiny"].config, SETTINGS["tiny"].recipe
MACHINE = {"device": "cpu"}
TRUNK = Path(bundles.__file__).parent / "portraits" / "trunk.safetensors"


@cache
def perceptual() -> Perceptual:
    return load_bundle("portraits").perceptual


@pytest.fixture
def run() -> AdversarialRun:
    return make_run()


def make_run() -> AdversarialRun:
    torch.manual_seed(0)
    pictures = FreshPictures(seed=1, resolution=32, length=16)
    guides = Guides(
        regressor=Regressor(32).freeze(),
        fine=ResidualRegressor(32).freeze(),
        perceptual=perceptual(),
    )
    return AdversarialRun(CONFIG, RECIPE, pictures, guides, torch.device("cpu"))


def newest(folder: Path) -> Checkpoint:
    return read_checkpoint(list_snapshots(folder)[-1])


def test_a_resumed_run_repeats_an_uninterrupted_one_bit_by_bit(tmp_path: Path) -> None:
    straight = make_run()
    train(straight, Session(tmp_path / "straight", MACHINE), pictures=56)
    first = make_run()
    train(first, Session(tmp_path / "halves", MACHINE), pictures=24)
    second = make_run()
    start = newest(tmp_path / "halves")
    second.resume(start)
    train(second, Session(tmp_path / "halves", MACHINE, start.seen, start.stretches), pictures=56)
    ours, theirs = (newest(tmp_path / folder) for folder in ("straight", "halves"))
    assert ours.seen == theirs.seen == 56
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, value in ours.tensors.items():
        assert torch.equal(value, theirs.tensors[name]), name
    assert [(s.start, s.stop) for s in theirs.stretches] == [(0, 56)]


def test_both_sides_learn_and_the_average_follows(run: AdversarialRun) -> None:
    before = {n: p.detach().clone() for n, p in run.generator.named_parameters()}
    average = run.average.constant.clone()
    assert run.fine is not None
    heads = [
        c.heads[0].last.parametrizations.weight.original for c in (run.critic, run.fine.critic)
    ]
    kept = [head.detach().clone() for head in heads]
    run.step()
    assert any(not torch.equal(p, before[n]) for n, p in run.generator.named_parameters())
    assert not any(torch.equal(*pair) for pair in zip(heads, kept, strict=True))
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


def test_the_time_limit_stops_a_training_with_a_checkpoint(
    run: AdversarialRun, tmp_path: Path
) -> None:
    session = Session(tmp_path, MACHINE)
    train(run, session, pictures=1_000_000, seconds=session.seconds + 0.5)
    assert 0 < newest(tmp_path).seen < 1_000_000


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    save_regressor(Regressor(32), tmp_path / "critic.safetensors")
    save_regressor(ResidualRegressor(32), tmp_path / "reader.safetensors")
    line = ["--recipe", "tiny", "--limit", "16", "--out", str(tmp_path / "run")]
    return [*line, "--critic", str(tmp_path / "critic.safetensors"), "--trunk", str(TRUNK)]


def test_the_command_trains_logs_and_resumes(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "LOG_PICTURES", 8)
    assert script.main([*command, "--resume", "--pictures", "8"]) == 0
    line = [*command, "--resume", "latest", "--pictures", "16", "--critic-rate", "0.001"]
    assert script.main(line) == 0
    last = newest(tmp_path / "run")
    assert (last.seen, last.limit) == (16, 16)
    assert [s.recipe["critic_rate"] for s in last.stretches] == [RECIPE.critic_rate, 0.001]
    assert last.stretches[0].hardware["torch"] == torch.__version__
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["pictures"] for line in lines] == [8, 16]


def test_a_resumed_run_keeps_the_recipe_of_its_checkpoint(
    command: list[str], tmp_path: Path
) -> None:
    script.main([*command, "--pictures", "8", "--mixing", "0.25", "--seed", "5"])
    script.main([*command, "--pictures", "16", "--resume"])
    (stretch,) = newest(tmp_path / "run").stretches
    assert (stretch.recipe["mixing"], stretch.recipe["seed"]) == (0.25, 5)
    assert stretch.stop == 16


def test_a_recipe_that_reconstructs_asks_for_the_trunk(command: list[str]) -> None:
    with pytest.raises(InvalidOptionError, match="from 16 on: name the perceptual trunk"):
        script.main(command[:-2])


def test_an_older_run_can_begin_to_reconstruct_and_take_a_second_critic(
    command: list[str], tmp_path: Path
) -> None:
    script.main([*command, "--pictures", "8", "--reconstruct-from", "1000"])
    line = [*command, "--reader", str(tmp_path / "reader.safetensors"), "--resume"]
    script.main([*line, "--pictures", "24", "--reconstruct-from", "8"])
    script.main([*line, "--pictures", "32"])
    last = newest(tmp_path / "run")
    assert [s.recipe["reconstruct_from"] for s in last.stretches] == [1000, 8]
    assert last.part("descents")["done"].min() < 2
    assert last.part("fine_optimiser")


def test_runs_do_not_mix_in_one_folder(command: list[str], tmp_path: Path) -> None:
    script.main([*command, "--pictures", "16", "--checkpoint-s", "0"])
    oldest = list_snapshots(tmp_path / "run")[0]
    for more in ([], ["--resume", str(oldest)]):
        with pytest.raises(InvalidOptionError, match="checkpoint-00000016"):
            script.main([*command, *more])


def test_a_run_killed_while_it_writes_goes_on_from_the_checkpoint_before(
    command: list[str], tmp_path: Path
) -> None:
    line = [*command, "--pictures", "1000000", "--checkpoint-s", "0"]
    process = subprocess.Popen([sys.executable, "-m", script.__name__, *line])
    while len(list_snapshots(tmp_path / "run")) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    seen = newest(tmp_path / "run").seen
    assert script.main([*command, "--resume", "--pictures", str(seen + 8)]) == 0
    assert newest(tmp_path / "run").seen == seen + 8

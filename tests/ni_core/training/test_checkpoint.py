from pathlib import Path

import pytest
import torch

from ni_core.bundles import load_bundle
from ni_core.errors import CheckpointError
from ni_core.training import snapshots as module
from ni_core.training.adversarial import AdversarialRun, Guides
from ni_core.training.checkpoint import (
    Checkpoint,
    Stretch,
    join_stretches,
    read_checkpoint,
    write_checkpoint,
)
from ni_core.training.picture_set import FreshPictures
from ni_core.training.recipes import SETTINGS
from ni_core.training.regressor import Regressor
from ni_core.training.residual_regressor import ResidualRegressor
from ni_core.training.snapshots import list_snapshots

CONFIG = SETTINGS["tiny"].config
SMALL = {"average.a": torch.arange(3.0), "critic.b": torch.ones(2), "reader.c": torch.ones(())}


def make(seen: int, tensors: dict[str, torch.Tensor] = SMALL) -> Checkpoint:
    stretch = Stretch(0, seen, 1.0, {"batch": 8}, {"device": "cpu"})
    return Checkpoint(CONFIG, seen, 64, (stretch,), tensors)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    read = read_checkpoint(write_checkpoint(make(8), tmp_path))
    assert read.tensors.keys() == SMALL.keys()
    assert all(torch.equal(read.tensors[name], value) for name, value in SMALL.items())
    assert (read.config, read.seen, read.limit, read.stretches) == (
        CONFIG,
        8,
        64,
        make(8).stretches,
    )
    assert read.part("average").keys() == {"a"}


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_the_files_of_a_real_run_are_small_and_few(name: str, tmp_path: Path) -> None:
    """A GPU is lent in pieces: at most 8 files come back, each under 16 MiB, 64 MiB together."""
    setting, pictures = SETTINGS[name], FreshPictures(seed=1, length=2)
    guides = Guides(
        regressor=Regressor().freeze(),
        fine=ResidualRegressor().freeze(),
        perceptual=load_bundle("portraits").perceptual,
    )
    run = AdversarialRun(setting.config, setting.recipe, pictures, guides, torch.device("cpu"))
    trained = (run.generator, run.reader, run.critic, run.pixel_critic, run.fine.critic)
    for network in trained:
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
    run.generator_optimiser.step()
    run.critic_optimiser.step()
    run.fine.optimiser.step()
    files = list(write_checkpoint(make(0, run.tensors()), tmp_path).iterdir())
    sizes = [file.stat().st_size for file in files]
    assert max(sizes) < 16 << 20 and sum(sizes) < 64 << 20 and len(files) <= 8


def test_a_part_too_large_for_one_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 100)
    tensors = {f"average.{i}": torch.full((10,), float(i)) for i in range(5)}
    path = write_checkpoint(make(8, tensors), tmp_path)
    assert len(list(path.glob("tensors-*.safetensors"))) == 3
    assert read_checkpoint(path).tensors.keys() == tensors.keys()


def test_what_a_killed_writer_left_is_no_checkpoint_and_in_nobodys_way(tmp_path: Path) -> None:
    write_checkpoint(make(8), tmp_path)
    partial = tmp_path / "partial-checkpoint"
    partial.mkdir()
    (partial / "tensors-1.safetensors").write_bytes(b"half of")
    assert [path.name for path in list_snapshots(tmp_path)] == ["checkpoint-00000008"]
    read_checkpoint(write_checkpoint(make(16), tmp_path))
    assert not partial.exists()


def test_old_checkpoints_are_dropped(tmp_path: Path) -> None:
    for seen in range(0, 160, 16):
        write_checkpoint(make(seen), tmp_path)
    kept = list_snapshots(tmp_path)
    assert len(kept) == module.KEPT and kept[-1].name == "checkpoint-00000144"


@pytest.mark.parametrize("name", ["tensors-1.safetensors", "checkpoint.json"])
def test_a_missing_file_is_an_error(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(make(8), tmp_path)
    (path / name).unlink()
    with pytest.raises(CheckpointError, match="checkpoint-00000008"):
        read_checkpoint(path)


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    path = write_checkpoint(make(8), tmp_path)
    (path / "tensors-1.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="checkpoint-00000008"):
        read_checkpoint(path)


def test_stretches_join_where_recipe_and_machine_stayed_the_same() -> None:
    machine = {"device": "cpu"}
    pieces = [
        Stretch(0, 8, 1.0, {"batch": 8}, machine),
        Stretch(8, 24, 2.0, {"batch": 8}, machine),
        Stretch(24, 32, 1.0, {"batch": 4}, machine),
    ]
    joined = join_stretches(pieces)
    assert joined == (Stretch(0, 24, 3.0, {"batch": 8}, machine), pieces[2])

"""The training of θ on a tiny bundle."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.errors import InvalidOptionError
from ni_core.landscapes import FAMILY, Landscape, build_landscape
from ni_core.objectives import Coefficients
from ni_core.training import landscape as script
from ni_core.training.curvature import curved_basis
from ni_core.training.landscape_run import LandscapeRun, Recipe
from ni_core.training.picture_set import FreshPictures
from ni_core.training.runs import UNFINISHED, add_run_options, train_run
from ni_core.training.snapshots import list_snapshots, read_snapshot
from ni_core.training.trajectories import Targets, Trajectories

BATCH, STEPS = 8, 6
SMALL = Recipe(
    "tiny",
    "samples and renders",
    horizon=BATCH * STEPS,
    dimensions=48,
    hidden=16,
    slots=10,
    batch=BATCH,
    probes=64,
    fitted=64,
)


def make(bundle: Bundle, recipe: Recipe = SMALL) -> LandscapeRun:
    return LandscapeRun(bundle, FreshPictures(seed=1, resolution=16, length=64), recipe)


def options(folder: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_run_options(parser, pictures=BATCH * STEPS)
    return parser.parse_args(["--out", str(folder), *words])


def newest(folder: Path) -> dict[str, Tensor]:
    return read_snapshot(list_snapshots(folder)[-1])[1]


def test_a_resumed_training_repeats_an_uninterrupted_one_bit_by_bit(
    tiny: Bundle, tmp_path: Path
) -> None:
    assert train_run(make(tiny), options(tmp_path / "straight"))
    half = ["--pictures", str(BATCH * STEPS // 2)]
    train_run(make(tiny), options(tmp_path / "halves", *half))
    train_run(make(tiny), options(tmp_path / "halves", "--resume"))
    straight, halves = newest(tmp_path / "straight"), newest(tmp_path / "halves")
    assert {name.split(".")[0] for name in straight} == {
        *("landscape", "basis", "optimiser", "trajectories")
    }
    assert straight.keys() == halves.keys()
    for name, value in straight.items():
        assert torch.equal(value, halves[name]), name


def test_theta_learns_to_lower_the_loss_of_unseen_samples(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "COLD_STEPS", 2)
    learning = replace(SMALL, horizon=30 * BATCH)
    run = LandscapeRun(tiny, None, learning)
    run.prepare()
    targets = Targets(tiny.generator, None, seed=9).take(torch.arange(4))
    before = script.measure(run, tiny, targets)
    for _ in range(30):
        run.step()
    after = script.measure(run, tiny, targets)
    assert after["landscape_20"] < before["landscape_20"]
    assert after["cold_2"] == before["cold_2"]


def test_the_script_writes_a_part_that_is_read_again(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "COLD_STEPS", 2)
    words = ["--bundle", str(tiny.manifest.folder), "--out", str(tmp_path), "--pictures", "32"]
    assert script.main([*words, "--seconds", "0"]) == UNFINISHED
    assert not (tmp_path / "landscape.json").exists()
    assert script.main([*words, "--resume"]) == 0
    document = json.loads((tmp_path / "landscape.json").read_text())
    assert document["part"] == "landscape"
    assert document["generator"] == tiny.generator.fingerprint
    assert document["training"]["losses"].keys() == {"landscape_20", "cold_2"}
    tensors = load_file(tmp_path / "landscape.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.half}
    widened = {name: tensor.float() for name, tensor in tensors.items()}
    built = build_landscape(FAMILY, document["config"], widened)
    assert isinstance(built, Landscape)
    assert built(built.origin(2)).shape == (2, 6, 32)


def test_a_training_can_begin_with_a_trained_theta_of_the_same_shape(
    tiny: Bundle, tmp_path: Path
) -> None:
    first = make(tiny)
    train_run(first, options(tmp_path / "first"))
    weights = {name: value.half() for name, value in first.landscape.state_dict().items()}
    second = make(tiny, replace(SMALL, start="first"))
    second.begin_from(weights)
    second.step()
    for name, value in second.landscape.state_dict().items():
        torch.testing.assert_close(value, weights[name].float(), rtol=0, atol=6e-3, msg=name)


def test_a_theta_of_another_shape_is_refused(tiny: Bundle, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"start": torch.zeros(2, 2)}, other)
    words = ["--bundle", str(tiny.manifest.folder), "--out", str(tmp_path / "out")]
    with pytest.raises(InvalidOptionError, match="no θ of this shape"):
        script.main([*words, "--start", str(other)])
    other.write_bytes(b"nothing")
    with pytest.raises(InvalidOptionError, match="cannot be read"):
        script.main([*words, "--start", str(other)])


def test_the_first_directions_change_a_picture_most_and_the_scales_level_that(
    tiny: Bundle,
) -> None:
    basis, scale = curved_basis(tiny, Coefficients(), dimensions=40, probes=64, seed=1)
    assert basis.shape == (40, 6 * 32)
    assert (scale.diff() >= 0).all()
    rows = tiny.generator.broadcast(tiny.generator.w_avg[None])
    with torch.no_grad():
        still = tiny.generator.synthesize(rows)
        moved = tiny.generator.synthesize(rows + 0.1 * basis.unflatten(1, (6, 32)))
    changes = (moved - still).square().mean(dim=(1, 2, 3))
    assert changes[:5].min() > changes[-5:].max()
    levelled = changes * scale.square()
    assert levelled[:5].max() / levelled[-5:].min() < changes[:5].max() / changes[-5:].min()


def test_a_picture_is_known_by_its_number_and_every_fourth_is_an_own_sample(tiny: Bundle) -> None:
    pictures = FreshPictures(seed=1, resolution=16, length=64)
    targets = Targets(tiny.generator, pictures, seed=1)
    numbers = torch.arange(6)
    taken = targets.take(numbers)
    rendered = pictures.take(torch.arange(4), torch.device("cpu"))
    assert torch.equal(taken[[1, 2, 3, 5]], rendered)
    own = Targets(tiny.generator, None, seed=1).take(numbers)
    assert torch.allclose(taken[[0, 4]], own[[0, 4]], atol=0.05)
    assert not torch.allclose(own[0], own[1], atol=0.05)
    assert torch.allclose(targets.take(numbers[[3, 0]])[1], taken[0], atol=0.05)


def test_a_finished_descent_makes_room_for_another_picture() -> None:
    held = Trajectories(3, 2, (1, 2), steps=2)
    slots = torch.tensor([0, 2])
    for _ in range(3):
        held.put(slots, torch.ones(2, 2), torch.ones(2, 1, 2))
    points, gradients, numbers, steps = held.at(torch.arange(3))
    assert numbers.tolist() == [3, 1, 4]
    assert steps.tolist() == [0, 0, 0]
    assert not points.any()
    assert not gradients.any()

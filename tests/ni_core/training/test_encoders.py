"""The training of e4e, pSp and ReStyle on a tiny bundle."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.encoders import build_encoder, read_encoder_config
from ni_core.encoders.frozen import FeaturesConfig, FrozenFeatures
from ni_core.encoders.protocol import fit_rendering
from ni_core.errors import InvalidOptionError, SpaceNotAvailableError
from ni_core.objectives import Coefficients
from ni_core.training import encoders as script
from ni_core.training.distortion import Distortion
from ni_core.training.encoder_recipes import KINDS, EncoderRecipe
from ni_core.training.encoder_run import EncoderRun
from ni_core.training.own_samples import draw_rows
from ni_core.training.picture_set import FreshPictures
from ni_core.training.picture_streams import Renders
from ni_core.training.runs import UNFINISHED, add_run_options, random_of, train_run, write_part
from ni_core.training.snapshots import list_snapshots, read_snapshot
from tests.bundles import Z_ONLY, write_bundle

CPU = torch.device("cpu")
BATCH, STEPS = {"psp": 4, "e4e": 4, "restyle": 10}, 6


def recipe(kind: str, **changes: Any) -> EncoderRecipe:
    small = EncoderRecipe(
        kind=kind,
        source=None,
        generator="tiny",
        hidden=8,
        fitted=20,
        input_px=32,
        **{**KINDS[kind], "pictures": BATCH[kind] * STEPS, "batch": BATCH[kind]},  # type: ignore[arg-type]
    )
    return replace(small, **changes)


def make(bundle: Bundle, kind: str, **changes: Any) -> EncoderRun:
    made = recipe(kind, **changes)
    distortion = Distortion(bundle.perceptual, None, made.coefficients)
    stream = Renders(FreshPictures(seed=1, resolution=16, length=64))
    return EncoderRun(made, bundle.generator, distortion, stream, CPU)


def options(folder: Path, pictures: int, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_run_options(parser, pictures=pictures)
    return parser.parse_args(["--out", str(folder), *words])


def newest(folder: Path) -> dict[str, Tensor]:
    return read_snapshot(list_snapshots(folder)[-1])[1]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_resumed_training_repeats_an_uninterrupted_one_bit_by_bit(
    kind: str, tiny: Bundle, tmp_path: Path
) -> None:
    whole = BATCH[kind] * STEPS
    assert train_run(make(tiny, kind), options(tmp_path / "straight", whole))
    half = options(tmp_path / "halves", whole // 2, "--checkpoint-s", "0")
    assert train_run(make(tiny, kind), half)
    assert train_run(make(tiny, kind), options(tmp_path / "halves", whole, "--resume"))
    straight, halves = newest(tmp_path / "straight"), newest(tmp_path / "halves")
    assert straight.keys() == halves.keys()
    for name, value in straight.items():
        assert torch.equal(value, halves[name]), name


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_half_of_a_batch_are_samples_whose_rows_are_compared(kind: str, tiny: Bundle) -> None:
    run = make(tiny, kind)
    losses = run.step()
    own = {"delta", "adversary", "critic", "penalty"} if kind == "e4e" else set()
    assert losses.keys() == {"latent", "mse", "lpips"} | own
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    half = run.batch // 2
    assert run.flight.known.tolist() == [False] * half + [True] * half
    assert not run.flight.truths[:half].any()
    pictures = run.batches.render(run.flight.truths).clamp(-1, 1)
    torch.testing.assert_close(pictures[half:], run.flight.targets[half:], atol=0.05, rtol=0)


def test_it_begins_with_the_best_linear_reading_of_samples(tiny: Bundle) -> None:
    run = make(tiny, "psp", fitted=320, rate=0.0)
    run.step()
    kept = tiny.perceptual.network.net.state_dict()["slice1.0.weight"]
    assert torch.equal(run.encoder.trunk.stem.weight, kept)
    rows = draw_rows(tiny.generator, 16, random_of(7, 0))
    truths = run.batches.spread.standardised(rows)
    found = run.batches.spread.standardised(run.average.encode(run.pictures(rows)))
    assert (found - truths).square().mean() < 0.95 * truths.square().mean()


def test_steps_bring_reconstructions_closer(tiny: Bundle) -> None:
    run = make(tiny, "psp", pictures=10_000, batch=16, fitted=64, rate=5e-4, rising=0.001)
    targets = run.batches.draw(16, random_of(9, 0), others=8).targets
    errors = []
    for steps in (1, 7):
        for _ in range(steps):
            run.step()
        terms = run.distortion.measure(run.reconstruct(targets), targets)
        errors.append(float(run.distortion.total(terms)))
    assert errors[1] < 0.95 * errors[0]


def test_deltas_are_let_go_one_after_another(tiny: Bundle) -> None:
    plan = recipe("e4e", pictures=1000, progress=(0.2, 0.7))
    stages = [plan.stage(seen, 5) for seen in range(50, 1050, 100)]
    assert stages == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5]
    assert recipe("psp").stage(500, 5) is None
    run = make(tiny, "e4e", progress=(0.5, 0.9))
    run.step()
    assert run.encoder.bends.weight[:32].any()
    assert not run.encoder.bends.weight[32:].any()
    run.seen = run.batch * (STEPS - 1)
    run.step()
    assert run.encoder.bends.weight[32:].any()


def test_the_rate_rises_and_falls_to_zero() -> None:
    plan = recipe("psp", pictures=1000, batch=10, rising=0.1, rate=1.0)
    rates = [plan.rate_at(seen) for seen in (0, 90, 500, 1000)]
    assert rates == pytest.approx([0.1, 0.98, 0.5, 0.0], abs=0.001)


def test_every_pass_of_restyle_goes_on_from_the_last_without_gradients(tiny: Bundle) -> None:
    run = make(tiny, "restyle")
    for _ in range(5):
        before = run.flight.guesses.clone()
        run.step()
    assert not torch.equal(run.flight.guesses, before)
    guesses = run.batches.spread.mean + run.flight.guesses @ run.batches.spread.basis
    assert not guesses.requires_grad
    shown = fit_rendering(run.pictures(guesses), (32, 32))
    torch.testing.assert_close(shown, run.flight.shown.clamp(-1, 1), atol=0.05, rtol=0)


def test_restyle_begins_with_what_psp_has_learnt(tiny: Bundle) -> None:
    psp, restyle = make(tiny, "psp"), make(tiny, "restyle", rate=0.0)
    psp.step()
    taken = restyle.begin_from(psp.average.state_dict())
    assert set(taken) == set(psp.average.state_dict()) - {"w_avg", "basis", "base.bias"}
    restyle.step()
    assert torch.equal(restyle.encoder.base.weight, psp.average.base.weight)
    assert not restyle.encoder.base.bias.any()


def test_e4e_begins_without_the_deltas_of_psp(tiny: Bundle) -> None:
    psp, e4e = make(tiny, "psp"), make(tiny, "e4e")
    psp.step()
    e4e.begin_from(psp.encoder.state_dict())
    assert torch.equal(e4e.encoder.base.weight, psp.encoder.base.weight)
    assert torch.equal(e4e.encoder.bends.weight[:32], psp.encoder.bends.weight[:32])
    assert psp.encoder.bends.weight[32:].any()
    assert not e4e.encoder.bends.weight[32:].any()


def test_distortion_is_zero_for_equal_pictures_and_moves_the_images_alone(tiny: Bundle) -> None:
    torch.manual_seed(0)
    features = FrozenFeatures(FeaturesConfig(side=16, widths=(4, 6))).freeze()
    distortion = Distortion(tiny.perceptual, features, Coefficients(1.0, 0.5, 0.25))
    images = torch.rand(2, 3, 16, 16, generator=random_of(0, 0)) * 2 - 1
    terms = distortion.measure(images, images)
    assert max(float(term) for term in terms.values()) < 1e-6
    moved = (images + 0.1 * images.flip(3)).requires_grad_()
    terms = distortion.measure(moved, images)
    assert terms.keys() == {"mse", "lpips", "features"}
    total = distortion.total(terms)
    torch.testing.assert_close(
        total, terms["mse"] + 0.5 * terms["lpips"] + 0.25 * terms["features"]
    )
    total.backward()
    assert moved.grad is not None
    assert bool(moved.grad.any())


def test_the_sheet_shows_targets_above_their_reconstructions(tiny: Bundle) -> None:
    assert make(tiny, "psp").sheet().shape == (3, 2 * 18 + 2, 16 * 18 + 2)


@pytest.fixture
def command(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(script, "TESTED", 4)
    folder = tiny.manifest.path(tiny.manifest.generator.file).parent
    return ["--bundle", str(folder), "--pictures", "8", "--input-px", "32", "--fitted", "8"]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_command_writes_an_encoder_that_a_bundle_can_load(
    kind: str, command: list[str], tiny: Bundle, tmp_path: Path
) -> None:
    line = [*command, "--kind", kind, "--data", "none", "--out", str(tmp_path / kind)]
    line += ["--batch", str(BATCH[kind])]
    assert script.main([*line, "--seconds", "0"]) == UNFINISHED
    assert script.main([*line, "--resume"]) == 0
    document = json.loads((tmp_path / kind / f"{kind}.json").read_text())
    tensors = load_file(tmp_path / kind / f"{kind}.safetensors")
    config = read_encoder_config(document["family"], document["config"])
    wide = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    encoder = build_encoder(document["family"], config, wide)
    latents = encoder.encode(torch.zeros(1, 3, 40, 40), tiny.generator)
    assert latents.shape == (1, 6, 32)
    assert document["part"] == kind
    assert document["training"]["pictures"] >= 8
    assert set(document["training"]["errors"]) == {"renders", "samples"}
    assert document["training"]["errors"]["renders"]["mse"] > 0


def test_samples_alone_are_enough(command: list[str], tmp_path: Path) -> None:
    assert script.main([*command, "--kind", "psp", "--batch", "4", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "psp.json").read_text())
    assert document["training"]["recipe"]["source"] is None
    assert set(document["training"]["errors"]) == {"samples"}


def test_the_loss_takes_the_features_that_were_trained(command: list[str], tmp_path: Path) -> None:
    config = FeaturesConfig(side=16, widths=(4, 6))
    weights = FrozenFeatures(config).state_dict()
    write_part(
        tmp_path,
        "features",
        weights,
        family="contrastive",
        config=config,
        generator=None,
        training={},
    )
    path = tmp_path / "features.safetensors"
    line = [
        *command,
        "--kind",
        "psp",
        "--batch",
        "4",
        "--out",
        str(tmp_path / "psp"),
        "--features",
        str(path),
    ]
    assert script.main(line) == 0
    log = (tmp_path / "psp" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["features"] > 0


def test_files_that_cannot_be_used_are_refused(command: list[str], tmp_path: Path) -> None:
    stranger = Path(command[1]) / "trunk.safetensors"
    line = [
        *command,
        "--kind",
        "psp",
        "--batch",
        "4",
        "--out",
        str(tmp_path),
        "--start",
        str(stranger),
    ]
    with pytest.raises(InvalidOptionError, match=r"no tensor of .*trunk\.safetensors"):
        script.main(line)
    with pytest.raises(InvalidOptionError, match=r"batch of 9 .* 5 passes, which takes 10"):
        recipe("restyle", batch=9)
    with pytest.raises(InvalidOptionError, match="16 is below 17"):
        script.main(
            [*command, "--kind", "psp", "--batch", "4", "--out", str(tmp_path), "--input-px", "16"]
        )


def test_a_generator_without_w_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path, "plain", "pggan", Z_ONLY)
    with pytest.raises(SpaceNotAvailableError, match="has no space w"):
        script.main(["--kind", "e4e", "--bundle", str(folder), "--out", str(tmp_path / "out")])

"""The training of a latent mapper: pairs, head, figures, command."""

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
from ni_core.encoders.mapper import LatentMapper, MapperConfig
from ni_core.errors import InvalidOptionError, SpaceNotAvailableError
from ni_core.training import latent_pairs
from ni_core.training.latent_pairs import LatentPairs, PairRecipe, draw_latents
from ni_core.training.mapper import main
from ni_core.training.mapper_run import MapperRecipe, MapperRun, standardise
from ni_core.training.own_samples import spread_of
from ni_core.training.picture_probes import picture_probes
from ni_core.training.runs import random_of, write_part
from tests.bundles import Z_ONLY, write_bundle

FEATURES = FeaturesConfig(side=16, widths=(4, 6, 8))
CONFIG = MapperConfig("w+", 6, 32, 32, hidden=16, level=8, features=FEATURES)
PAIRS = PairRecipe("tiny-0", "some", "multi-level 4", "w+", 0.5, 1)
SAMPLES = 96


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_pairs, "CHUNK", 64)
    monkeypatch.setattr(latent_pairs, "BATCH", 32)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("features")
    torch.manual_seed(0)
    write_part(
        folder,
        "features",
        FrozenFeatures(FEATURES).state_dict(),
        family="contrastive",
        config=FEATURES,
        generator=None,
        training={},
    )
    return folder


def make(config: MapperConfig = CONFIG) -> LatentMapper:
    torch.manual_seed(0)
    mapper = LatentMapper(config)
    mapper.features.freeze()
    return mapper


def pairs_of(folder: Path, bundle: Bundle, recipe: PairRecipe = PAIRS) -> LatentPairs:
    return LatentPairs(folder, recipe, make(), bundle.generator)


def run_of(bundle: Bundle, pairs: tuple[Tensor, Tensor], **changes: Any) -> MapperRun:
    recipe = replace(MapperRecipe(PAIRS, SAMPLES, CONFIG, 320, probes=0, batch=32), **changes)
    return MapperRun(recipe, make(), bundle, *pairs, lambda mapper: torch.zeros(3, 8, 8))


@pytest.fixture(scope="module")
def pairs(tiny: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor]:
    return pairs_of(tmp_path_factory.mktemp("pairs"), tiny).take(SAMPLES)


def test_pairs_are_made_once_and_the_same_again(tiny: Bundle, tmp_path: Path) -> None:
    features, latents = pairs_of(tmp_path / "one", tiny).take(SAMPLES)
    assert (features.shape, features.dtype) == ((2, SAMPLES, 16 * (6 + 8) + 8), torch.float16)
    assert latents.shape == (SAMPLES, 6, 32)
    files = sorted((tmp_path / "one").glob("pairs-*"))
    times = [file.stat().st_mtime_ns for file in files]
    files[1].unlink()
    again = pairs_of(tmp_path / "one", tiny).take(SAMPLES)
    assert torch.equal(again[0], features) and torch.equal(again[1], latents)
    assert files[0].stat().st_mtime_ns == times[0]


def test_features_are_of_whole_and_of_masked_pictures(tiny: Bundle, tmp_path: Path) -> None:
    features, latents = pairs_of(tmp_path, tiny).take(4)
    mapper = make()
    whole = mapper.read(tiny.generator.synthesize(latents).clamp(-1, 1))
    torch.testing.assert_close(features[0].float(), whole, atol=0.1, rtol=0.05)
    assert (features[0] - features[1]).abs().amax(dim=1).min() > 0.1


def test_half_of_the_rows_are_mixed_only_in_w_plus(tiny: Bundle) -> None:
    generator = tiny.generator
    rows = draw_latents(generator, 64, "w+", random_of(1, 0), mixing=0.5)
    mixed = (rows != rows[:, :1]).flatten(1).any(dim=1).float().mean()
    assert 0.3 < mixed < 0.7
    w = draw_latents(generator, 64, "w", random_of(1, 0), mixing=0.5)
    z = draw_latents(generator, 64, "z", random_of(1, 0), mixing=0.5)
    torch.testing.assert_close(generator.map(z), w)


def test_pairs_of_another_training_are_refused(tiny: Bundle, tmp_path: Path) -> None:
    pairs_of(tmp_path, tiny)
    with pytest.raises(InvalidOptionError, match=r"pairs of another training: features, seed"):
        pairs_of(tmp_path, tiny, replace(PAIRS, features="other", seed=2))


def test_six_steps_are_three_and_three(tiny: Bundle, pairs: tuple[Tensor, Tensor]) -> None:
    whole, first, second = (run_of(tiny, pairs) for _ in range(3))
    for _ in range(6):
        whole.step()
    for _ in range(3):
        first.step()
    second.resume(first.seen, {key: value.clone() for key, value in first.tensors().items()})
    for _ in range(3):
        second.step()
    ours, theirs = whole.tensors(), second.tensors()
    assert whole.seen == second.seen
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_loss_falls(tiny: Bundle, pairs: tuple[Tensor, Tensor]) -> None:
    run = run_of(tiny, pairs, rate=5e-3)
    losses = [run.step()["loss"].item() for _ in range(10)]
    assert losses[-1] < 0.95 * losses[0]
    assert run.sheet().shape == (3, 8, 8)


def test_errors_are_weighed_by_what_is_seen_of_them(
    tiny: Bundle, pairs: tuple[Tensor, Tensor]
) -> None:
    run = run_of(tiny, pairs, probes=24)
    losses = run.step()
    assert losses["loss"].item() == pytest.approx(
        0.9 * losses["seen"].item() + 0.1 * losses["latent"].item()
    )
    again = run_of(tiny, pairs, probes=24)
    assert torch.equal(again.step()["seen"], losses["seen"])
    assert set(run_of(tiny, pairs).step()) == {"loss"}


def test_probes_tell_which_errors_change_the_picture(tiny: Bundle) -> None:
    basis = spread_of(tiny.generator, random_of(0, 0)).basis
    probes = picture_probes(tiny, "w+", basis, probes=64, seed=1)
    assert probes.shape == (64, 6 * 32)
    assert probes.square().sum().item() == pytest.approx(1)
    _, _, axes = torch.linalg.svd(probes, full_matrices=True)
    rows = draw_latents(tiny.generator, 8, "w+", random_of(2, 0), mixing=1.0)

    def change(direction: Tensor) -> Tensor:
        moved = rows + 0.05 * direction.view(6, 32) @ basis
        return (tiny.generator.synthesize(moved) - tiny.generator.synthesize(rows)).square().mean()

    seen, unseen = change(axes[0]), change(axes[-1])
    assert seen > 4 * unseen


def test_the_linear_map_is_where_training_begins(
    tiny: Bundle, pairs: tuple[Tensor, Tensor]
) -> None:
    config = replace(CONFIG, rank=20)
    recipe = MapperRecipe(PAIRS, SAMPLES, config, 320, probes=0, batch=32)
    run = MapperRun(recipe, make(config), tiny, *pairs, lambda mapper: torch.zeros(3, 8, 8))
    shortcut = run.mapper.eval().shortcut
    assert shortcut is not None
    read = pairs[0][0].float()
    begun = run.mapper.whitened(read)
    standard = (read - run.mapper.feature_mean) * run.mapper.feature_scale
    torch.testing.assert_close(begun.flatten(1), shortcut(standard))
    kept = shortcut.inner.weight.clone()
    assert run.step()["loss"] < run_of(tiny, pairs).step()["loss"]
    assert torch.equal(shortcut.inner.weight, kept)
    run.mapper.eval()
    assert not torch.equal(run.mapper.whitened(read), begun)


def test_masked_pictures_come_only_where_asked_for(
    tiny: Bundle, pairs: tuple[Tensor, Tensor]
) -> None:
    marked = torch.stack([torch.zeros_like(pairs[0][0]), torch.ones_like(pairs[0][0])])
    for masked in (0.0, 0.5, 1.0):
        run = run_of(tiny, (marked, pairs[1]), masked=masked)
        part = torch.cat([run._take(random_of(1, step))[0] for step in range(8)]).mean().item()
        assert part == pytest.approx(masked, abs=0.15)


def test_buffers_bring_features_and_latents_to_variance_one(
    tiny: Bundle, pairs: tuple[Tensor, Tensor]
) -> None:
    mapper = make()
    standardise(mapper, *pairs, tiny.generator)
    read = (pairs[0].flatten(0, 1).float() - mapper.feature_mean) * mapper.feature_scale
    deviation = read.std(dim=0)
    assert ((deviation - 1).abs() < 0.05).float().mean() > 0.5
    assert deviation.max() < 1.1
    whitened = torch.linalg.solve(mapper.latent_basis.T, (pairs[1] - mapper.latent_mean).mT).mT
    assert 0.2 < whitened.square().mean() < 1.5
    torch.testing.assert_close(mapper.coloured(whitened), pairs[1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "words",
    [
        ["--space", "w+", "--architecture", "multi-level"],
        ["--space", "w", "--architecture", "plain", "--unmasked"],
        ["--space", "z"],
    ],
)
def test_the_command_leaves_a_part_that_encodes(
    words: list[str], tiny: Bundle, features: Path, tmp_path: Path
) -> None:
    line = ["--bundle", str(tiny.manifest.path("")), "--features", str(features), *words]
    line += ["--samples", "64", "--batch", "32", "--hidden", "16", "--probes", "16"]
    line += ["--out", str(tmp_path / "out")]
    assert main([*line, "--pictures", "64", "--renders", "2"]) == 0
    document = json.loads((tmp_path / "out" / "mapper.json").read_text())
    assert document["generator"] == tiny.generator.fingerprint
    figures = document["training"]["figures"]
    assert figures["pictures"] == {"samples": 128, "renders": 2}
    assert set(figures["renders"]["right_half_unknown"]) == {"mse", "lpips"}
    assert document["training"]["recipe"]["masked"] == (0.0 if "--unmasked" in words else 0.5)
    mapper = build_encoder(
        "mapper", read_encoder_config("mapper", document["config"]), loaded(tmp_path / "out")
    )
    assert mapper.encode(torch.zeros(1, 3, 16, 16), tiny.generator).shape == (1, 6, 32)


def test_without_w_the_command_maps_to_z(features: Path, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path, "plain", "pggan", Z_ONLY)
    line = ["--bundle", str(folder), "--features", str(features), "--out", str(tmp_path / "out")]
    line += ["--samples", "64", "--batch", "32", "--probes", "4", "--pictures", "64"]
    assert main(line) == 0
    config = json.loads((tmp_path / "out" / "mapper.json").read_text())["config"]
    assert (config["space"], config["z_dim"], config["num_layers"]) == ("z", 24, 0)
    with pytest.raises(SpaceNotAvailableError, match="'w' is not one of"):
        main([*line, "--space", "w"])


def loaded(folder: Path) -> dict[str, Tensor]:
    return {key: value.float() for key, value in load_file(folder / "mapper.safetensors").items()}

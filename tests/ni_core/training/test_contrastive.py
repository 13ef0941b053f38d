"""Contrastive learning: its loss, its training, and what the features tell of the factors."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ni_core.bundles import write_tiny_bundle
from ni_core.checkpoints.features import load_features
from ni_core.encoders.frozen import FeaturesConfig, FrozenFeatures
from ni_core.errors import InvalidOptionError
from ni_core.training.augmentations import Augmentations
from ni_core.training.contrastive import main
from ni_core.training.contrastive_run import ContrastiveRecipe, ContrastiveRun, nt_xent
from ni_core.training.factor_reading import linear_reading, ridge
from ni_core.training.picture_set import FreshPictures
from ni_core.training.picture_streams import Renders, open_stream
from ni_core.training.portraits import FACTOR_NAMES
from ni_core.training.schedule import set_warm_cosine

RECIPE = ContrastiveRecipe(
    "renders", 64, FeaturesConfig(side=16, widths=(4, 6, 8)), Augmentations(side=16), batch=8
)


@pytest.fixture(scope="module")
def renders() -> Renders:
    return Renders(FreshPictures(seed=1, resolution=16, length=24))


def make(renders: Renders) -> ContrastiveRun:
    return ContrastiveRun(RECIPE, renders, torch.device("cpu"))


def test_the_loss_is_that_of_the_paper() -> None:
    codes = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    unit = codes / codes.norm(dim=1, keepdim=True)
    expected = []
    for i in range(6):
        others = [math.exp(float(unit[i] @ unit[k]) / 0.5) for k in range(6) if k != i]
        partner = math.exp(float(unit[i] @ unit[(i + 3) % 6]) / 0.5)
        expected.append(-math.log(partner / sum(others)))
    loss, _ = nt_xent(codes, 0.5)
    assert loss.item() == pytest.approx(sum(expected) / 6, abs=1e-5)


def test_equal_views_find_each_other() -> None:
    one = torch.eye(4)
    loss, found = nt_xent(torch.cat([one, one]), 0.05)
    assert (loss.item(), found.item()) == (pytest.approx(0, abs=1e-6), 1)


def test_six_steps_are_three_and_three(renders: Renders) -> None:
    whole, first, second = make(renders), make(renders), make(renders)
    losses = [whole.step()["loss"] for _ in range(6)]
    assert all(loss.isfinite() for loss in losses)
    for _ in range(3):
        first.step()
    second.resume(first.seen, {key: value.clone() for key, value in first.tensors().items()})
    for _ in range(3):
        second.step()
    assert whole.seen == second.seen == 48
    ours, theirs = whole.tensors(), second.tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_partners_are_found_after_some_steps(renders: Renders) -> None:
    recipe = replace(RECIPE, pictures=400, rate=5e-3, views=Augmentations(side=16, smallest=0.9))
    run = ContrastiveRun(recipe, renders, torch.device("cpu"))
    found = [run.step()["found"].item() for _ in range(40)]
    assert sum(found[-8:]) > 1.5 * sum(found[:8])


def test_the_sheet_shows_views_and_neighbours(renders: Renders) -> None:
    sheet = make(renders).sheet()
    assert sheet.shape == (3, 6 * 18 + 2, 8 * 18 + 2)


def test_a_line_is_read_exactly() -> None:
    x = torch.randn(50, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[1.0], [-2.0], [3.0]], dtype=torch.double)
    torch.testing.assert_close(ridge(x[:40], x[:40] @ weights + 5, x[40:]), x[40:] @ weights + 5,
                               atol=0.05, rtol=0)  # fmt: skip


def test_the_reading_names_every_factor() -> None:
    torch.manual_seed(0)
    features = FrozenFeatures(RECIPE.features)
    scores = linear_reading(features, FreshPictures(seed=2, resolution=16), 90)
    for part in (scores["vector"], scores["maps"]):
        assert list(part["factors"]) == list(FACTOR_NAMES)
        assert part["mean"] < 1
    assert scores["maps"]["factors"]["background_light"] > 0.5


def test_the_rate_rises_and_falls() -> None:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)

    def rate(done: float) -> float:
        set_warm_cosine(optimiser, 2.0, done, 0.1)
        return float(optimiser.param_groups[0]["lr"])

    assert 0 < rate(0) < 0.1
    assert rate(0.1) == pytest.approx(2.0, rel=0.03)
    assert rate(0.5) == pytest.approx(1.0)
    assert rate(1.0) == rate(1.5) == pytest.approx(0)


def test_the_command_learns_from_a_generators_samples(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path)
    words = ["--data", "samples", "--bundle", str(bundle), "--batch", "8", "--pictures", "16"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    features = load_features(tmp_path / "out")
    assert features.vector(torch.zeros(1, 3, 40, 40)).shape == (1, 128)
    training = json.loads((tmp_path / "out" / "features.json").read_text())["training"]
    assert training["recipe"]["source"] == "samples of tiny"
    assert training["recipe"]["views"]["side"] == 16
    assert "linear_reading" not in training


def test_samples_of_nobody_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="--data samples needs --bundle"):
        open_stream("samples", None, seed=1)

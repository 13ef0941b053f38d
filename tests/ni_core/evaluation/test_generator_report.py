import json
from pathlib import Path

import pytest
import torch

from ni_core.bundles import Bundle
from ni_core.errors import BrokenBundleError
from ni_core.evaluation.distances import RandomFeatures
from ni_core.evaluation.generator_report import compare, generate, main
from ni_core.evaluation.reading import render_all, unseen_factors
from ni_core.training.picture_set import TEST_START
from ni_core.training.portraits import FACTOR_NAMES, render, sample_factors


def test_samples_repeat_and_shrink_with_truncation(bundle: Bundle) -> None:
    assert torch.equal(generate(bundle, 5, seed=1), generate(bundle, 5, seed=1))
    whole, truncated = (generate(bundle, 20, seed=1, psi=psi) for psi in (1.0, 0.2))
    assert truncated.std(dim=0).mean() < whole.std(dim=0).mean()


def test_unseen_renders_lie_beyond_every_training_set(bundle: Bundle) -> None:
    pictures = render_all(unseen_factors(2, seed=1, part=1), bundle)
    assert torch.equal(pictures, render(sample_factors(1, TEST_START + 2, 2), 32))


def test_a_set_compared_with_itself_is_perfect() -> None:
    pictures = torch.rand(12, 3, 32, 32)
    figures = compare(pictures, pictures, {"random": RandomFeatures()})
    assert figures == {
        "fd_random": pytest.approx(0, abs=1e-3),
        "precision_random": 1.0,
        "recall_random": 1.0,
        "sharpness": 1.0,
    }


def test_noise_is_further_from_renders_than_renders_are(bundle: Bundle) -> None:
    real, again = (render_all(unseen_factors(24, seed=1, part=i), bundle) for i in (0, 1))
    features = {"random": RandomFeatures()}
    noise = compare(real, torch.rand_like(real) * 2 - 1, features)
    renders = compare(real, again, features)
    assert noise["fd_random"] > 3 * renders["fd_random"]
    assert noise["sharpness"] > 2 > renders["sharpness"]


def test_the_command_writes_figures_and_sheets(judged: Path, tmp_path: Path) -> None:
    sheets, out = tmp_path / "sheets", tmp_path / "figures.json"
    arguments = ["--bundle", str(judged), "--samples", "8"]
    assert main([*arguments, "--sheets", str(sheets), "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["samples"] == 8
    assert figures["generated"].keys() == figures["real_against_real"].keys()
    assert {"fd_judge", "recall_judge", "fd_random", "sharpness"} <= figures["generated"].keys()
    assert set(figures["spread"]) == set(figures["r2_judge"]) == set(FACTOR_NAMES)
    names = {path.name for path in sheets.iterdir()}
    assert names == {"samples.png", "samples_psi_0.7.png", "renders.png"}


def test_a_bundle_without_a_judge_says_how_to_get_one(folder: Path) -> None:
    with pytest.raises(BrokenBundleError, match="ni train features --kind judge"):
        main(["--bundle", str(folder), "--samples", "8"])

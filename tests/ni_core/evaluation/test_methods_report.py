import json
from pathlib import Path

import pytest
import torch

from ni_core.bundles import Bundle
from ni_core.errors import InvalidOptionError, UnknownMethodError
from ni_core.evaluation.methods_report import latent_distance, main
from ni_core.evaluation.picture_sets import own_samples, picture_sets, sample_latents
from ni_core.images import decode_image

DISTANCES = ["mse", "psnr", "ssim", "lpips", "seconds", "steps"]


def test_the_command_compares_methods_on_three_sets(judged: Path, tmp_path: Path) -> None:
    out, table, sheet = (tmp_path / name for name in ("figures.json", "table.md", "sheet.png"))
    arguments = ["--bundle", str(judged), "--pictures", "2", "--steps", "3"]
    arguments += ["--methods", "optimize,optimize space=w steps=2 masked"]
    arguments += ["--out", str(out), "--markdown", str(table), "--sheet", str(sheet)]
    assert main(arguments) == 0
    figures = json.loads(out.read_text())
    assert list(figures["methods"]) == ["optimize", "optimize space=w steps=2 masked"]
    for method, steps in zip(figures["methods"].values(), (3, 2), strict=True):
        assert list(method) == ["own_samples", "unseen_renders", "other_domain"]
        assert list(method["own_samples"]) == [*DISTANCES, "latent_distance"]
        assert list(method["unseen_renders"]) == DISTANCES  # an untrained judge reads no factor
        assert {one["steps"] for one in method.values()} == {steps}
    assert {check["holds"] for check in figures["checks"]} == {None}
    assert decode_image(sheet.read_bytes()).shape[1:] == (3 * 34 + 2, 6 * 34 + 2)
    mse = figures["methods"]["optimize"]["other_domain"]["mse"]
    text = table.read_text()
    assert f"| optimize | {mse:.4f} |" in text
    assert text.count("not measured") == 5


def test_without_a_judge_there_are_no_renders(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    arguments = ["--bundle", str(folder), "--pictures", "1", "--steps", "1", "--out", str(out)]
    assert main(arguments) == 0
    methods = json.loads(out.read_text())["methods"]
    assert list(methods["optimize"]) == ["own_samples", "other_domain"]


def test_methods_are_added_to_an_earlier_report_on_the_same_pictures(
    folder: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    line = ["--bundle", str(folder), "--pictures", "1", "--steps", "1"]
    assert main([*line, "--methods", "optimize", "--out", str(first)]) == 0
    more = [*line, "--methods", "optimize space=w", "--earlier", str(first)]
    assert main([*more, "--out", str(second)]) == 0
    before, after = (json.loads(path.read_text())["methods"] for path in (first, second))
    assert list(after) == ["optimize", "optimize space=w"]
    assert after["optimize"] == before["optimize"]
    with pytest.raises(InvalidOptionError, match="have pictures 1, but this run has 2"):
        main([*more, "--pictures", "2"])


def test_a_method_that_the_model_lacks_is_named_before_any_work(folder: Path) -> None:
    with pytest.raises(UnknownMethodError, match="ni train e4e"):
        main(["--bundle", str(folder), "--methods", "optimize,e4e"])


def test_the_sets_are_fixed_by_the_seed_and_own_samples_have_their_latents(bundle: Bundle) -> None:
    first, again = (picture_sets(bundle, 3, seed=1, renders=True) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.pictures, other.pictures)
        assert one.pictures.shape == (3, 3, 32, 32)
    own = own_samples(bundle, 3, seed=1)
    assert own.latents is not None
    assert torch.equal(bundle.generator.synthesize(own.latents).clamp(-1, 1), own.pictures)


def test_latent_distance_is_in_units_of_the_spread(bundle: Bundle) -> None:
    some, others = (sample_latents(bundle, 400, seed=seed) for seed in (1, 2))
    assert latent_distance(bundle, some, some) == 0
    assert latent_distance(bundle, some, others) == pytest.approx(2**0.5, rel=0.1)

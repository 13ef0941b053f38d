import json
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
from torch import Tensor

from ni_core.evaluation.inversion_report import factor_error, main
from ni_core.images import decode_image
from ni_core.training.portraits import FACTOR_NAMES


class EchoJudge(torch.nn.Module):
    """Reads what was written into the first pixels, so that errors are known."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flatten(1)[:, : len(FACTOR_NAMES)]


def written(values: Tensor) -> Tensor:
    pictures = torch.zeros(len(values), 3, 8, 8)
    pictures.flatten(1)[:, : len(FACTOR_NAMES)] = values
    return pictures


def test_the_ratio_compares_reconstructions_with_renders_over_well_read_factors() -> None:
    truth = torch.zeros(4, len(FACTOR_NAMES))
    renders, made = truth + 0.1, truth + 0.2
    made[:, 0] = 100.0  # this one the judge cannot read: it must not count
    scores = dict.fromkeys(FACTOR_NAMES, 0.9) | {FACTOR_NAMES[0]: 0.1}
    figures = factor_error(EchoJudge(), written(made), written(renders), truth, scores)  # type: ignore[arg-type]
    assert figures["ratio"] == pytest.approx(2.0)
    assert figures["renders"] == pytest.approx(0.1)
    assert figures["factors"] == len(FACTOR_NAMES) - 1
    assert figures["by_factor"]["reconstructions"][FACTOR_NAMES[0]] == pytest.approx(100)


def test_the_standard_error_is_how_far_other_pictures_would_differ() -> None:
    seeded = torch.Generator().manual_seed(1)
    scores = dict.fromkeys(FACTOR_NAMES, 0.9)
    ratios, errors = [], []
    for _ in range(100):
        truth = torch.zeros(32, len(FACTOR_NAMES))
        sizes = torch.rand(2, 32, 1, generator=seeded)  # some pictures are read worse than others
        noise = torch.randn(2, *truth.shape, generator=seeded)
        renders, made = sizes * noise * torch.tensor([1.0, 2.0])[:, None, None]
        figures = factor_error(EchoJudge(), written(made), written(renders), truth, scores)  # type: ignore[arg-type]
        ratios.append(figures["ratio"])
        errors.append(figures["standard_error"])
    assert fmean(errors) == pytest.approx(stdev(ratios), rel=0.25)


def test_the_command_inverts_both_kinds_and_writes_figures_and_a_sheet(
    judged: Path, tmp_path: Path
) -> None:
    out, sheet = tmp_path / "figures.json", tmp_path / "sheet.png"
    arguments = ["--bundle", str(judged), "--pictures", "2", "--steps", "3"]
    assert main([*arguments, "--out", str(out), "--sheet", str(sheet)]) == 0
    figures = json.loads(out.read_text())
    assert figures["trunk"] == "random-squeeze"
    for kind in ("generated", "unseen_renders"):
        psnr = figures[kind]["psnr"]
        assert psnr["worst"] <= psnr["median"] <= psnr["best"]
        lpips = figures[kind]["lpips"]
        assert lpips["worst"] >= lpips["median"] >= lpips["best"]
    assert set(figures["factor_error"]["by_factor"]["renders"]) == set(FACTOR_NAMES)
    assert decode_image(sheet.read_bytes()).shape[1:] == (4 * 34 + 2, 2 * 34 + 2)

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.directions import find_directions
from ni_core.evaluation.directions_report import correlations, default_ranges, main
from ni_core.training.portraits import FACTOR_NAMES


class ColourJudge(torch.nn.Module):
    """Its first factor is the mean of red, the others are always 0."""

    def forward(self, pictures: Tensor) -> Tensor:
        read = torch.zeros(len(pictures), len(FACTOR_NAMES))
        read[:, 0] = pictures[:, 0].mean(dim=(1, 2))
        return read


def test_a_direction_that_moves_a_factor_correlates_with_it_alone(bundle: Bundle) -> None:
    direction = find_directions(bundle, layers="all", k=1)[0]
    w_plus = bundle.generator.w_avg.expand(48, bundle.generator.num_layers, -1)
    weights = torch.linspace(-0.2, 0.2, 48)
    found = correlations(bundle, ColourJudge(), direction, w_plus, weights)  # type: ignore[arg-type]
    assert abs(float(found[0])) > 0.9
    assert torch.equal(found[1:], torch.zeros(len(FACTOR_NAMES) - 1))


@pytest.mark.parametrize("num_layers", [1, 4, 10, 18])
def test_default_ranges_lie_within_the_rows(num_layers: int) -> None:
    ranges = default_ranges(num_layers)
    assert ranges[0] == "all"
    for text in ranges[1:]:
        first, last = map(int, text.split("-"))
        assert 0 <= first <= last < num_layers


def test_the_command_lists_what_each_direction_moves(judged: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    arguments = ["--bundle", str(judged), "--pictures", "8", "--k", "2", "--layers", "0-3"]
    assert main([*arguments, "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert list(figures["directions"]) == ["sefa.0-3.0", "sefa.0-3.1"]
    assert all(len(moved) == 3 for moved in figures["directions"].values())
    assert figures["clear"] == []  # an untrained judge reads no factor

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.directions import find_directions
from ni_core.evaluation.editability import (
    Edit,
    Effect,
    compare_effects,
    describe,
    effects,
    pick_edits,
    purest,
)
from ni_core.evaluation.picture_sets import sample_latents
from ni_core.training.portraits import FACTOR_NAMES

F = len(FACTOR_NAMES)
TRUE = [Effect(1.0, 0.2), Effect(-0.5, 0.1)]


class ColourJudge(torch.nn.Module):
    """Its first three factors are the means of red, green and blue, the others are always 0."""

    def forward(self, pictures: Tensor) -> Tensor:
        read = torch.zeros(len(pictures), F)
        read[:, :3] = pictures.mean(dim=(2, 3))
        return read


def test_true_latents_are_as_editable_as_themselves() -> None:
    figures = compare_effects(TRUE, TRUE)
    assert figures == {"editability": 1.0, "leakage": 1.0, "agreement": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("factor", "editability"), [(0.5, 0.5), (2.0, 0.5), (0.0, 0.0), (-1.0, 0.0)]
)
def test_too_little_too_much_and_the_wrong_way_all_count(factor: float, editability: float) -> None:
    found = [replace(effect, main=effect.main * factor) for effect in TRUE]
    figures = compare_effects(found, TRUE)
    assert figures["editability"] == pytest.approx(editability)
    assert figures["agreement"] == pytest.approx([factor, factor])


def test_leakage_is_what_the_others_move_per_main_change() -> None:
    found = [replace(effect, others=3 * effect.others) for effect in TRUE]
    assert compare_effects(found, TRUE)["leakage"] == pytest.approx(3)
    found = [replace(effect, main=effect.main / 2) for effect in TRUE]
    assert compare_effects(found, TRUE)["leakage"] == pytest.approx(2)


def test_the_purest_direction_of_each_factor_is_picked(bundle: Bundle) -> None:
    impure, pure, faint, other = find_directions(bundle, layers="all", k=4)
    table = torch.zeros(4, F)
    table[0, :2] = torch.tensor([0.95, -0.9])
    table[1, :2] = torch.tensor([-0.8, 0.1])
    table[2, 2] = 0.69
    table[3, 3] = 0.75
    picked = purest(list(zip((impure, pure, faint, other), table, strict=True)))
    assert [(edit.direction, edit.factor) for edit in picked] == [(other, 3), (pure, 0)]
    assert describe(picked)[1] == {"direction": pure.id, "factor": FACTOR_NAMES[0], "r": -0.8}


def test_an_edit_goes_one_standard_deviation_along_its_direction(bundle: Bundle) -> None:
    direction = find_directions(bundle, layers="0-3", k=1)[0]
    w_plus = sample_latents(bundle, 4000, seed=5)
    along = (w_plus[:, 0] @ direction.vector).std()
    assert Edit(direction, 0, 0.9).deviation == pytest.approx(float(along), rel=0.05)


def test_effects_are_the_changes_that_the_judge_reads(bundle: Bundle) -> None:
    direction = find_directions(bundle, layers="all", k=1)[0]
    edit, known = Edit(direction, 0, 0.9), torch.arange(F) < 3
    w_plus = sample_latents(bundle, 5, seed=2)
    judge = ColourJudge()
    found = effects(bundle, judge, [edit], w_plus, known)[0]  # type: ignore[arg-type]
    moved = w_plus + edit.deviation * direction.vector
    pictures = [bundle.generator.synthesize(one).clamp(-1, 1) for one in (w_plus, moved)]
    change = (judge(pictures[1]) - judge(pictures[0]))[:, :3]
    assert found.main == pytest.approx(float(change[:, 0].mean()), abs=1e-6)
    assert found.others == pytest.approx(float(change[:, 1:].square().mean().sqrt()), abs=1e-6)


def test_picked_edits_repeat_and_move_what_they_name(bundle: Bundle) -> None:
    known = torch.arange(F) < 3
    first, again = (
        pick_edits(bundle, ColourJudge(), known, seed=1)  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first
    assert first == again
    assert all(edit.factor < 3 and abs(edit.r) >= 0.7 for edit in first)


def test_a_judge_that_reads_nothing_picks_nothing(bundle: Bundle) -> None:
    known = torch.zeros(F, dtype=torch.bool)
    assert pick_edits(bundle, ColourJudge(), known, seed=1) == []  # type: ignore[arg-type]

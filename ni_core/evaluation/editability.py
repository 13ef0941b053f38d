"""Editability: whether edits act on inverted latents as they act on true ones.

Every picked direction is followed by +1, one standard deviation of mapped latents along it, and the
judge reads the factors before and after. The reference is true latents, which are the generator's
own: of its own samples those that made them, of renders those of many other samples.

- Agreement of a direction: the mean change of its main factor, over that on true latents; 1 is the
  same amount, below 0 the other way.
- Editability: mean over the directions of `min(agreement, 1 / agreement)`, 0 where the agreement is
  not positive; 1 is as editable as true latents, and too much counts as too little does.
- Leakage: how far the other factors that the judge reads well move (root mean square over factors
  and pictures) per unit of main change, summed over the directions, over the same on true latents;
  1 is as pure, 2 moves the others twice as far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.directions import Direction, find_directions
from ni_core.directions.calibration import DEVIATIONS
from ni_core.evaluation.directions_report import (
    CLEAR,
    correlations,
    default_ranges,
    factor_changes,
    read_latents,
)
from ni_core.evaluation.picture_sets import sample_latents
from ni_core.training.judge import Judge
from ni_core.training.portraits import FACTOR_NAMES

DIRECTIONS = 6
"""At most so many directions are followed."""

CANDIDATES = 8
"""SeFa directions of each layer range that are looked at."""

PROBES = 48
"""Latents that the correlations are measured on."""

_SMALLEST = 1e-3
"""Changes below this count as this, so that a method that cannot be edited has finite figures."""


@dataclass(frozen=True)
class Edit:
    """A direction, the factor it moves most, and the correlation of the two."""

    direction: Direction
    factor: int
    r: float

    @property
    def deviation(self) -> float:
        """One standard deviation of the mapped latents along the direction, as a weight."""
        return self.direction.range[1] / DEVIATIONS


def describe(edits: list[Edit]) -> list[dict[str, Any]]:
    """The edits as JSON values: direction, factor, correlation."""
    return [
        {
            "direction": edit.direction.id,
            "factor": FACTOR_NAMES[edit.factor],
            "r": round(edit.r, 3),
        }
        for edit in edits
    ]


@dataclass(frozen=True)
class Effect:
    """What one edit does to many latents, in standard deviations of a factor.

    Attributes:
        main: Mean change of the main factor.
        others: Root mean square of the change of the others.
    """

    main: float
    others: float


def pick_edits(bundle: Bundle, judge: Judge, known: Tensor, *, seed: int) -> list[Edit]:
    """Pick SeFa directions that move one factor clearly: |r| >= 0.7, the purest first.

    Purity is how far the strongest correlation is above the second. No factor is picked twice.

    Args:
        bundle: Whose directions; there are none for a generator without W+.
        judge: Reads factors.
        known: Factors that the judge reads well, bool `[F]`.
        seed: Of latents and weights.
    """
    if not bundle.generator.num_layers or not known.any():
        return []
    w_plus = sample_latents(bundle, PROBES, seed=seed + 1)
    before = read_latents(bundle, judge, w_plus)
    weights = torch.rand(PROBES, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    candidates = []
    for layers in default_ranges(bundle.generator.num_layers):
        for direction in find_directions(bundle, layers=layers, k=_candidates(bundle)):
            r = correlations(bundle, judge, direction, w_plus, weights, before=before) * known
            candidates.append((direction, r))
    return purest(candidates)


def purest(candidates: list[tuple[Direction, Tensor]]) -> list[Edit]:
    """Of directions with their correlations `[F]`, the clear ones, one for each factor."""
    ranked = []
    for direction, r in candidates:
        first, second = r.abs().topk(2).values.tolist()
        factor = int(r.abs().argmax())
        if first >= CLEAR:
            ranked.append((first - second, Edit(direction, factor, float(r[factor]))))
    best: dict[int, Edit] = {}
    for _, one in sorted(ranked, key=lambda pair: -pair[0]):
        best.setdefault(one.factor, one)
    return list(best.values())[:DIRECTIONS]


def effects(
    bundle: Bundle, judge: Judge, edits: list[Edit], w_plus: Tensor, known: Tensor
) -> list[Effect]:
    """Follow every direction by +1 from latents `[n, num_layers, w_dim]`."""
    before = read_latents(bundle, judge, w_plus)
    found = []
    for edit in edits:
        amounts = w_plus.new_full((len(w_plus),), edit.deviation)
        change = factor_changes(bundle, judge, edit.direction, w_plus, amounts, before=before)
        others = known.clone()
        others[edit.factor] = False
        spread = change[:, others].square().mean().sqrt()
        found.append(Effect(float(change[:, edit.factor].mean()), float(spread)))
    return found


def compare_effects(found: list[Effect], true: list[Effect]) -> dict[str, Any]:
    """Figures of inverted latents against true ones; see the top of this module.

    Args:
        found: Effects of the edits on inverted latents.
        true: Effects of the same edits on true latents.

    Returns:
        `editability`, `leakage`, and the `agreement` of every direction.
    """
    agreement = [one.main / _at_least(other.main) for one, other in zip(found, true, strict=True)]
    closeness = [min(a, 1 / a) if a > 0 else 0.0 for a in agreement]
    return {
        "editability": round(sum(closeness) / len(closeness), 3),
        "leakage": round(_purity(true) / _purity(found), 3),
        "agreement": [round(value, 3) for value in agreement],
    }


def _purity(effects: list[Effect]) -> float:
    """Main change per change of the others."""
    main = sum(abs(effect.main) for effect in effects)
    return max(main, _SMALLEST) / max(sum(effect.others for effect in effects), _SMALLEST)


def _at_least(value: float) -> float:
    return math.copysign(max(abs(value), _SMALLEST), value)


def _candidates(bundle: Bundle) -> int:
    return min(CANDIDATES, bundle.generator.w_dim)

"""`ni evaluate directions`: which known factor each direction moves, and how purely."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.directions import Direction, find_directions
from ni_core.evaluation.reading import (
    BATCH,
    open_judge,
    read_factors,
    reading_scores,
    well_read,
)
from ni_core.generators import sample_z
from ni_core.training.judge import Judge
from ni_core.training.portraits import FACTOR_NAMES

READING_PICTURES = 1000
"""Unseen renders on which it is decided which factors the judge reads well."""

CLEAR = 0.7
"""A direction is said to move a factor from this correlation on."""

NAMED = 3
"""So many of the factors that a direction moves most are listed."""


def default_ranges(num_layers: int) -> list[str]:
    """All rows, and windows of about a third of them at every other row."""
    width = max(1, round(num_layers / 3))
    windows = [(first, first + width - 1) for first in range(0, num_layers - width + 1, 2)]
    return ["all", *(f"{first}-{last}" for first, last in windows)]


@torch.no_grad()
def correlations(
    bundle: Bundle,
    judge: Judge,
    direction: Direction,
    w_plus: Tensor,
    weights: Tensor,
    *,
    before: Tensor | None = None,
) -> Tensor:
    """Correlation of a direction's weight with the change of every factor it causes.

    Args:
        bundle: Whose direction it is.
        judge: Reads factors.
        direction: A direction in W.
        w_plus: Latents `[n, num_layers, w_dim]`.
        weights: From -1 to 1, `[n]`: the part of the safe range to go in each picture.
        before: Factors read before the edit `[n, F]`, where they are known.

    Returns:
        `[F]`, from -1 to 1.
    """
    amounts = weights.to(w_plus) * direction.range[1]
    change = factor_changes(bundle, judge, direction, w_plus, amounts, before=before)
    columns = torch.cat([amounts[:, None].cpu(), change], dim=1).T
    return torch.corrcoef(columns)[0, 1:].nan_to_num()


@torch.no_grad()
def factor_changes(
    bundle: Bundle,
    judge: Judge,
    direction: Direction,
    w_plus: Tensor,
    amounts: Tensor,
    *,
    before: Tensor | None = None,
) -> Tensor:
    """How much every factor changes when latents move along a direction.

    Args:
        bundle: Whose direction it is.
        judge: Reads factors.
        direction: A direction in W.
        w_plus: Latents `[n, num_layers, w_dim]`.
        amounts: Weight of the edit in each picture, `[n]`.
        before: Factors read before the edit `[n, F]`, where they are known.

    Returns:
        `[n, F]`, in standard deviations of a factor, on the CPU.
    """
    edited = w_plus.clone()
    edited[:, list(direction.layers)] += amounts[:, None, None] * direction.vector.to(w_plus)
    if before is None:
        before = read_latents(bundle, judge, w_plus)
    return read_latents(bundle, judge, edited) - before


@torch.no_grad()
def read_latents(bundle: Bundle, judge: Judge, w_plus: Tensor) -> Tensor:
    """Standardised factors `[n, F]` of the pictures of latents `[n, num_layers, w_dim]`."""
    parts = [bundle.generator.synthesize(part).clamp(-1, 1) for part in w_plus.split(BATCH)]
    return read_factors(judge, torch.cat(parts))


def report(
    bundle: Bundle, judge: Judge, *, ranges: list[str], k: int, pictures: int, seed: int
) -> dict[str, Any]:
    """Measure the first `k` SeFa directions of some layer ranges.

    Args:
        bundle: Whose directions.
        judge: Reads factors.
        ranges: Layer ranges as text.
        k: Directions of each range.
        pictures: Latents that each direction is applied to.
        seed: Of latents, weights and the stream of renders that score the judge.

    Returns:
        The factors that each direction moves most, with their correlation; and, for every factor
        the judge reads well, the direction that moves it most.
    """
    generator = bundle.generator
    scores = reading_scores(judge, bundle, n=READING_PICTURES, seed=seed)
    known = well_read(scores)
    z = sample_z(generator, pictures, seed=seed).to(generator.device)
    w_plus = generator.broadcast(generator.map(z))
    weights = torch.rand(pictures, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    before = read_latents(bundle, judge, w_plus)
    found = {
        direction.id: correlations(bundle, judge, direction, w_plus, weights, before=before) * known
        for layers in ranges
        for direction in find_directions(bundle, layers=layers, k=k)
    }
    best = _best(found, known)
    return {
        "pictures": pictures,
        "seed": seed,
        "ranges": ranges,
        "k": k,
        "clear": [name for name, one in best.items() if abs(one["r"]) >= CLEAR],
        "factors": best,
        "directions": {identity: _strongest(values) for identity, values in found.items()},
    }


def _best(found: dict[str, Tensor], known: Tensor) -> dict[str, Any]:
    """The direction that moves each well-read factor most, and by how much."""
    identities, table = list(found), torch.stack(list(found.values()))
    best: dict[str, Any] = {}
    for index, name in enumerate(FACTOR_NAMES):
        if known[index]:
            row = int(table[:, index].abs().argmax())
            best[name] = {"direction": identities[row], "r": round(float(table[row, index]), 3)}
    return best


def _strongest(values: Tensor) -> dict[str, float]:
    order = values.abs().argsort(descending=True)[:NAMED].tolist()
    return {FACTOR_NAMES[index]: round(float(values[index]), 3) for index in order}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni evaluate directions", description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument("--judge", type=Path, help="judge.safetensors; default: the bundle's own")
    parser.add_argument("--layers", action="append", help="a layer range; may be repeated")
    parser.add_argument("--k", type=int, default=12, help="directions of each range")
    parser.add_argument("--pictures", type=int, default=256, help="latents for each direction")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    """Measure a bundle's SeFa directions."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    bundle = load_bundle(options.bundle, device=options.device)
    figures = report(
        bundle,
        open_judge(bundle, options.judge),
        ranges=options.layers or default_ranges(bundle.generator.num_layers),
        k=options.k,
        pictures=options.pictures,
        seed=options.seed,
    )
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 0

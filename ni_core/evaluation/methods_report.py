"""`ni evaluate methods`: all ways to invert, on the same three sets of pictures."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.errors import InvalidOptionError
from ni_core.evaluation.acceptance import acceptance
from ni_core.evaluation.editability import (
    Edit,
    Effect,
    compare_effects,
    describe,
    effects,
    pick_edits,
)
from ni_core.evaluation.inversion_report import factor_error
from ni_core.evaluation.methods_table import markdown
from ni_core.evaluation.picture_sets import UNSEEN_RENDERS, PictureSet, picture_sets, sample_latents
from ni_core.evaluation.reading import open_judge, reading_scores, standardised, well_read
from ni_core.evaluation.variants import (
    Outcome,
    Variant,
    default_variants,
    parse_variant,
    run_variant,
)
from ni_core.images import encode_image, grid
from ni_core.inversion.coordinates import coordinates_of
from ni_core.training.hardware import hardware
from ni_core.training.judge import Judge

READING_PICTURES = 400
"""Unseen renders on which it is decided which factors the judge reads well."""

TRUE_LATENTS = 128
"""True latents that edits of renders are compared with."""

SHEET_PICTURES = 6
"""Pictures of each set on the sheet, at most."""

_DIGITS = 5


@dataclass(frozen=True)
class Reading:
    """The judge, what it reads well, and edits with what they do to true latents.

    Attributes:
        judge: Reads factors.
        scores: Its R² by factor.
        edits: The directions that are followed.
        true: Effects of the edits on true latents, by the set they are compared with: of own
            samples on their own latents, of renders on many others, because theirs are unknown.
    """

    judge: Judge
    scores: Mapping[str, float]
    edits: list[Edit]
    true: Mapping[str, list[Effect]]

    @property
    def known(self) -> Tensor:
        """Factors that the judge reads well, bool `[F]`."""
        return well_read(self.scores)

    @classmethod
    def of(cls, bundle: Bundle, judge: Judge, own: PictureSet, *, seed: int) -> Reading:
        """Score the judge, pick edits, and follow them from true latents."""
        scores = reading_scores(judge, bundle, n=READING_PICTURES, seed=seed)
        known = well_read(scores)
        edits = pick_edits(bundle, judge, known, seed=seed)
        if not edits or own.latents is None:
            return cls(judge, scores, [], {})
        many = sample_latents(bundle, TRUE_LATENTS, seed=seed + 2)
        latents = {own.name: own.latents, UNSEEN_RENDERS: many}
        true = {name: effects(bundle, judge, edits, w, known) for name, w in latents.items()}
        return cls(judge, scores, edits, true)


def figures_of(
    bundle: Bundle, pictures: PictureSet, outcome: Outcome, reading: Reading | None
) -> dict[str, Any]:
    """Measure what a variant found for one set; all are means over the pictures.

    Returns:
        `mse` on [-1, 1], `psnr` in dB, `ssim`, `lpips`, `seconds` of one picture in a batch,
        `steps`; where it is known `latent_distance`, the root mean squared distance from the true
        latents in W+, whose unit is the spread of mapped latents; with a judge `factor_error`, the
        ratio of its error to that on the renders themselves, and the figures of `compare_effects`.
    """
    figures: dict[str, Any] = {
        name: round(statistics.fmean(one[name] for one in outcome.metrics), _DIGITS)
        for name in ("mse", "psnr", "ssim", "lpips")
    }
    figures |= {"seconds": round(outcome.seconds, 4), "steps": outcome.steps}
    if pictures.latents is not None:
        figures["latent_distance"] = latent_distance(bundle, outcome.latents, pictures.latents)
    if reading is not None and reading.known.any() and pictures.factors is not None:
        truth = standardised(pictures.factors)
        error = factor_error(
            reading.judge, outcome.pictures, pictures.pictures, truth, reading.scores
        )
        figures["factor_error"] = error["ratio"]
    if reading is not None and pictures.name in reading.true:
        found = effects(bundle, reading.judge, reading.edits, outcome.latents, reading.known)
        figures |= compare_effects(found, reading.true[pictures.name])
    return figures


def latent_distance(bundle: Bundle, found: Tensor, truth: Tensor) -> float:
    """Root mean squared distance of latents as `synthesize` takes them, in whitened coordinates.

    The unit is the spread of mapped latents: two random ones are the root of 2 apart.
    """
    coordinates = coordinates_of(bundle, "w+" if bundle.generator.num_layers else "z")
    apart = coordinates.from_latents(found) - coordinates.from_latents(truth)
    return round(float(apart.square().mean().sqrt()), 4)


def report(
    bundle: Bundle,
    judge: Judge | None,
    variants: Sequence[Variant],
    *,
    pictures: int,
    seed: int,
    curve: Mapping[str, Any] | None = None,
    earlier: Mapping[str, Any] | None = None,
    on_variant: Callable[[Variant], None] | None = None,
) -> tuple[dict[str, Any], Tensor]:
    """Invert every set by every variant, and measure.

    Args:
        bundle: What to invert into.
        judge: Reads factors of portraits; without one there are no renders, and no figures that
            need them.
        variants: The ways to invert.
        pictures: How many in each set.
        seed: Of all pictures, and of what the edits are picked on.
        curve: Figures of `ni evaluate curve`, which one of the checks needs.
        earlier: Figures of a run on the same pictures: those of other variants are kept.
        on_variant: Called before each variant.

    Raises:
        InvalidOptionError: The earlier figures are of other pictures.

    Returns:
        Figures as JSON values, and a sheet `[3, h, w]`: a row of targets, then a row for each
        variant; the sets stand side by side.
    """
    sets = picture_sets(bundle, pictures, seed=seed, renders=judge is not None)
    reading = None if judge is None else Reading.of(bundle, judge, sets[0], seed=seed)
    columns = min(pictures, SHEET_PICTURES)
    rows = [[one.pictures[:columns] for one in sets]]
    about = {
        "bundle": bundle.name,
        "resolution": bundle.generator.resolution,
        "trunk": bundle.perceptual.trunk,
        "pictures": pictures,
        "seed": seed,
    }
    methods = dict(_checked(earlier, about)["methods"]) if earlier else {}
    for variant in variants:
        if on_variant is not None:
            on_variant(variant)
        outcomes = [run_variant(bundle, variant, one.pictures) for one in sets]
        methods[variant.name] = {
            one.name: figures_of(bundle, one, outcome, reading)
            for one, outcome in zip(sets, outcomes, strict=True)
        }
        rows.append([outcome.pictures[:columns] for outcome in outcomes])
    figures = {
        **about,
        "hardware": hardware(bundle.device),
        "directions": describe(reading.edits) if reading else [],
        "methods": methods,
        "checks": acceptance(methods, curve),
    }
    cells = torch.cat([part for row in rows for part in row]).cpu()
    return figures, grid(cells, columns=columns * len(sets))


def _checked(earlier: Mapping[str, Any], about: Mapping[str, object]) -> Mapping[str, Any]:
    """Refuse figures that cannot stand beside those of this run."""
    for name, ours in about.items():
        if earlier[name] != ours:
            raise InvalidOptionError(
                f"the earlier figures have {name} {earlier[name]}, but this run has {ours}",
                option="earlier",
                value=str(earlier[name]),
            )
    return earlier


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni evaluate methods", description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument("--judge", type=Path, help="judge.safetensors; default: the bundle's own")
    parser.add_argument(
        "--methods",
        metavar="A,B,…",
        help="such as 'e4e,optimize start=e4e steps=50,mapper masked'; default: all there are",
    )
    parser.add_argument("--pictures", type=int, default=32, help="in each of the three sets")
    parser.add_argument("--steps", type=int, default=200, help="of optimize")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--curve", type=Path, help="figures of `ni evaluate curve`, for a check")
    parser.add_argument(
        "--earlier", type=Path, help="JSON of a run on the same pictures, to add methods to"
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--markdown", type=Path, help="write the figures as tables")
    parser.add_argument("--sheet", type=Path, help="write targets and results as PNG")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def _read(path: Path | None) -> dict[str, Any] | None:
    """Figures of another command."""
    return json.loads(path.read_text()) if path else None


def main(arguments: list[str]) -> int:
    """Compare methods, and write figures, tables and sheet."""
    parsed = _parser().parse_args(arguments)
    torch.set_num_threads(parsed.threads)
    bundle = load_bundle(parsed.bundle, device=parsed.device)
    texts = default_variants(bundle, steps=parsed.steps)
    if parsed.methods:
        texts = parsed.methods.split(",")
    has_judge = parsed.judge is not None or bundle.manifest.judge is not None
    figures, sheet = report(
        bundle,
        open_judge(bundle, parsed.judge) if has_judge else None,
        [parse_variant(text, bundle, steps=parsed.steps) for text in texts],
        pictures=parsed.pictures,
        seed=parsed.seed,
        curve=_read(parsed.curve),
        earlier=_read(parsed.earlier),
        on_variant=lambda variant: print(variant.name, file=sys.stderr, flush=True),
    )
    table = markdown(figures)
    print(table)
    if parsed.out:
        parsed.out.write_text(json.dumps(figures, indent=2) + "\n")
    if parsed.markdown:
        parsed.markdown.write_text(table)
    if parsed.sheet:
        parsed.sheet.write_bytes(encode_image(sheet))
    return 0

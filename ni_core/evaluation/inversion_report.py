"""`ni evaluate inversion`: how close descent comes, and whether the factors survive it."""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.evaluation.generator_report import generate
from ni_core.evaluation.reading import (
    by_factor,
    open_judge,
    read_factors,
    reading_scores,
    render_all,
    standardised,
    unseen_factors,
    well_read,
)
from ni_core.images import encode_image, grid
from ni_core.inversion import InversionResult, invert
from ni_core.training.judge import Judge

BATCH = 8
"""Pictures inverted at once, and at most so many columns of the sheet."""

READING_PICTURES = 1000
"""Unseen renders on which it is decided which factors the judge reads well."""


def invert_all(
    bundle: Bundle, pictures: Tensor, options: Mapping[str, object]
) -> list[InversionResult]:
    """Invert pictures `[n, 3, r, r]` in batches; options as for `invert`."""
    return [invert(bundle, batch, options=options) for batch in pictures.split(BATCH)]


def closeness(results: list[InversionResult]) -> dict[str, Any]:
    """Median, worst and best of PSNR (dB), LPIPS and SSIM, and seconds for each picture."""
    metrics = [one for result in results for one in result.metrics]
    columns = {
        "psnr": sorted((one["psnr"] for one in metrics), reverse=True),
        "lpips": sorted(one["lpips"] for one in metrics),
        "ssim": sorted((one["ssim"] for one in metrics), reverse=True),
    }
    summary: dict[str, Any] = {
        name: {
            "median": round(statistics.median(values), 4),
            "worst": round(values[-1], 4),
            "best": round(values[0], 4),
        }
        for name, values in columns.items()
    }
    return summary | {"seconds": round(sum(r.seconds for r in results) / len(metrics), 2)}


def factor_error(
    judge: Judge, made: Tensor, renders: Tensor, truth: Tensor, scores: Mapping[str, float]
) -> dict[str, Any]:
    """Compare what the judge reads from reconstructions with what it reads from the renders.

    Args:
        judge: Reads factors.
        made: Reconstructions `[n, 3, r, r]`.
        renders: The pictures that were inverted, `[n, 3, r, r]`.
        truth: Their factors, standardised, `[n, F]`.
        scores: R² of the judge by factor; those below `WELL_READ` are left out of the means.

    Returns:
        `renders` and `reconstructions`, the root mean squared error against the truth in standard
        deviations of a factor; `ratio` of the two and its `standard_error` by the choice of
        pictures, None for a single one; and the error of every factor for both.
    """
    counted = well_read(scores)
    squares = {
        "renders": (read_factors(judge, renders) - truth).square(),
        "reconstructions": (read_factors(judge, made) - truth).square(),
    }
    by_picture = {name: square[:, counted].mean(dim=1) for name, square in squares.items()}
    means = {name: float(of_each.mean().sqrt()) for name, of_each in by_picture.items()}
    return {
        **{name: round(value, 4) for name, value in means.items()},
        "ratio": round(means["reconstructions"] / means["renders"], 3),
        "standard_error": _ratio_error(by_picture["reconstructions"], by_picture["renders"]),
        "factors": int(counted.sum()),
        "by_factor": {name: by_factor(sq.mean(dim=0).sqrt()) for name, sq in squares.items()},
    }


def _ratio_error(squares: Tensor, others: Tensor) -> float | None:
    """Standard error of the root of the ratio of two means over pictures, by the jackknife."""
    n = len(squares)
    if n < 2:
        return None
    without_one = ((squares.sum() - squares) / (others.sum() - others)).sqrt()
    return round(float(without_one.std(correction=0)) * math.sqrt(n - 1), 3)


def report(
    bundle: Bundle, judge: Judge, *, pictures: int, seed: int, options: Mapping[str, object]
) -> tuple[dict[str, Any], Tensor]:
    """Invert the generator's own pictures and unseen renders, and measure both.

    Args:
        bundle: What to invert into.
        judge: Reads factors.
        pictures: How many of each kind.
        seed: Of the latents and the stream of renders.
        options: Options of the inversion.

    Returns:
        Figures as JSON values, and a sheet `[3, h, w]`: above each reconstruction its target, the
        generator's own pictures first.
    """
    truth = unseen_factors(pictures, seed=seed)
    renders = render_all(truth, bundle)
    own = generate(bundle, pictures, seed=seed)
    results = {
        "generated": invert_all(bundle, own, options),
        "unseen_renders": invert_all(bundle, renders, options),
    }
    made = {name: torch.cat([r.images for r in found]) for name, found in results.items()}
    scores = reading_scores(judge, bundle, n=READING_PICTURES, seed=seed)
    figures = {
        "pictures": pictures,
        "seed": seed,
        "options": dict(options),
        "trunk": bundle.perceptual.trunk,
        **{name: closeness(found) for name, found in results.items()},
        "factor_error": factor_error(
            judge, made["unseen_renders"], renders, standardised(truth), scores
        ),
    }
    columns = math.gcd(pictures, BATCH)
    rows = _pairs(own, made["generated"], columns)
    rows += _pairs(renders, made["unseen_renders"], columns)
    return figures, grid(torch.cat(rows).cpu(), columns=columns)


def _pairs(targets: Tensor, made: Tensor, columns: int) -> list[Tensor]:
    pairs = zip(targets.split(columns), made.clamp(-1, 1).split(columns), strict=True)
    return [row for pair in pairs for row in pair]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni evaluate inversion", description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument("--judge", type=Path, help="judge.safetensors; default: the bundle's own")
    parser.add_argument("--pictures", type=int, default=32, help="of each kind")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--space", default="w+", choices=("z", "w", "w+"))
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--sheet", type=Path, help="write targets and results as PNG")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    """Invert, measure, and write figures and sheet."""
    parsed = _parser().parse_args(arguments)
    torch.set_num_threads(parsed.threads)
    bundle = load_bundle(parsed.bundle, device=parsed.device)
    options = {"steps": parsed.steps, "space": parsed.space}
    options |= dict(text.split("=", 1) for text in parsed.option)
    figures, sheet = report(
        bundle,
        open_judge(bundle, parsed.judge),
        pictures=parsed.pictures,
        seed=parsed.seed,
        options=options,
    )
    text = json.dumps(figures, indent=2)
    print(text)
    if parsed.out:
        parsed.out.write_text(text + "\n")
    if parsed.sheet:
        parsed.sheet.write_bytes(encode_image(sheet))
    return 0

"""`ni evaluate generator`: generated pictures against renders that no training saw."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.evaluation.distances import (
    RandomFeatures,
    frechet_distance,
    precision_recall,
    sharpness,
    spread_ratio,
)
from ni_core.evaluation.reading import (
    BATCH,
    by_factor,
    determination_of,
    open_judge,
    read_factors,
    render_all,
    standardised,
    unseen_factors,
)
from ni_core.generators import sample_z
from ni_core.images import encode_image, grid
from ni_core.training.judge import Judge

SHEET_PICTURES, SHEET_COLUMNS = 60, 10
"""Pictures on a contact sheet and in each of its rows."""


def generate(bundle: Bundle, n: int, *, seed: int, psi: float = 1.0) -> Tensor:
    """Pictures `[n, 3, r, r]` of the bundle's generator, clamped to [-1, 1]."""
    generator = bundle.generator
    z = sample_z(generator, n, seed=seed).to(generator.device)
    with torch.no_grad():
        w_plus = generator.broadcast(generator.map(z), psi)
        parts = [generator.synthesize(part, noise="none") for part in w_plus.split(BATCH)]
    return torch.cat(parts).clamp(-1, 1)


def compare(
    real: Tensor, others: Tensor, features: dict[str, Callable[[Tensor], Tensor]]
) -> dict[str, float]:
    """Figures of `others` against `real`, both `[n, 3, r, r]`.

    Args:
        real: Real pictures.
        others: Generated pictures, or other real ones for the value to be hoped for.
        features: Feature spaces by name; each takes pictures to `[n, d]`.

    Returns:
        `fd_*`, `precision_*` and `recall_*` for every feature space, and `sharpness`, the
        ratio of the two sets' sharpness. Fréchet distances are divided by the total
        variance of the real features, so they have no unit: 0 = equal.
    """
    figures: dict[str, float] = {}
    for name, space in features.items():
        a, b = _in_parts(space, real), _in_parts(space, others)
        scale = a.double().var(dim=0).sum().item()
        figures[f"fd_{name}"] = frechet_distance(a, b) / scale
        figures[f"precision_{name}"], figures[f"recall_{name}"] = precision_recall(a, b)
    figures["sharpness"] = sharpness(others) / sharpness(real)
    return {name: round(value, 4) for name, value in figures.items()}


def _in_parts(function: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([function(part) for part in pictures.split(BATCH)])


def report(bundle: Bundle, judge: Judge, *, samples: int, seed: int) -> dict[str, Any]:
    """Measure a bundle's generator.

    Args:
        bundle: What to measure.
        judge: Reads factors and gives features; neither trained with the generator nor against it.
        samples: Pictures in each of the three sets: generated, unseen, unseen again.
        seed: Stream of the renders; the latents' seed too.

    Returns:
        Figures for the manifest: generated against real, real against real, the judge's R² of
        every factor, and its spread as read from generated and from real pictures.
    """
    truth, others = (unseen_factors(samples, seed=seed, part=part) for part in (0, 1))
    real, again = render_all(truth, bundle), render_all(others, bundle)
    made = generate(bundle, samples, seed=seed)
    spaces: dict[str, Callable[[Tensor], Tensor]] = {
        "judge": judge.extract,
        "random": RandomFeatures().to(bundle.device),
    }
    read = read_factors(judge, real)
    return {
        "samples": samples,
        "seed": seed,
        "generated": compare(real, made, spaces),
        "real_against_real": compare(real, again, spaces),
        "r2_judge": determination_of(read, standardised(truth)),
        "spread": by_factor(spread_ratio(read, read_factors(judge, made))),
    }


def write_sheets(bundle: Bundle, folder: Path, *, seed: int) -> None:
    """Write samples at psi 1 and 0.7 and unseen renders as contact sheets."""
    folder.mkdir(parents=True, exist_ok=True)
    sheets = {
        "samples": generate(bundle, SHEET_PICTURES, seed=seed),
        "samples_psi_0.7": generate(bundle, SHEET_PICTURES, seed=seed, psi=0.7),
        "renders": render_all(unseen_factors(SHEET_PICTURES, seed=seed), bundle),
    }
    for name, pictures in sheets.items():
        sheet = grid(pictures.cpu(), columns=SHEET_COLUMNS)
        (folder / f"{name}.png").write_bytes(encode_image(sheet))


def main(arguments: list[str]) -> int:
    """Measure a bundle and write its contact sheets."""
    parser = argparse.ArgumentParser(prog="ni evaluate generator", description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument("--judge", type=Path, help="judge.safetensors; default: the bundle's own")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--sheets", type=Path, help="write contact sheets into this folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    bundle = load_bundle(options.bundle, device=options.device)
    if options.sheets:
        write_sheets(bundle, options.sheets, seed=options.seed)
    figures = report(
        bundle, open_judge(bundle, options.judge), samples=options.samples, seed=options.seed
    )
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 0

"""`ni evaluate curve`: what loss a descent of N steps reaches, by where it starts.

Every N is a run of its own, because the learning rate rises and falls over the whole run. The time
of a run is all of it, the encoder that finds the start included.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.bundles.manifest import ENCODER_PARTS, LANDSCAPE_PART
from ni_core.errors import InvalidOptionError
from ni_core.evaluation.curve_plot import plot
from ni_core.evaluation.picture_sets import (
    PictureSet,
    own_samples,
    sample_latents,
    unseen_renders,
)
from ni_core.evaluation.variants import BATCH, start_options
from ni_core.inversion import invert
from ni_core.inversion.distance import DistanceOptions, objective_of
from ni_core.inversion.optimize import space_of
from ni_core.training.hardware import hardware

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Lengths of the runs."""

COLD, MEAN, MAPPER, LANDSCAPE = "cold", "mean", "mapper", LANDSCAPE_PART
"""Starts: a random w for each picture, the mean w, the latent mapper, θ's own descent."""

AFTER_LANDSCAPE = "after landscape"
"""A descent in W+ from where a few steps of θ's end; their time is counted, they are not."""

Point = dict[str, float]


@dataclass(frozen=True)
class Start:
    """A line of the plot.

    Attributes:
        name: Its name in figures and plot.
        method: The method that descends.
        options: The method's options, but for the steps.
    """

    name: str
    method: str
    options: Mapping[str, object]


def read_start(name: str, bundle: Bundle) -> Start:
    """Read a start: `cold`, `mean`, an encoder, `landscape` or `after landscape`.

    Raises:
        InvalidOptionError: There is none of that name.
    """
    with_landscape = (LANDSCAPE, AFTER_LANDSCAPE) if bundle.landscape is not None else ()
    known = (COLD, MEAN, *bundle.encoders, *with_landscape)
    if name not in known:
        raise InvalidOptionError(
            f"start {name!r} is not one of those of {bundle.name}: {', '.join(known)}",
            option="starts",
            value=name,
            limit=list(known),
        )
    if name == LANDSCAPE:
        return Start(name, LANDSCAPE, {})
    if name in (COLD, MEAN):
        return Start(name, "optimize", {"starts": 1})
    part = LANDSCAPE if name == AFTER_LANDSCAPE else name
    return Start(name, "optimize", start_options(bundle, part))


def default_starts(bundle: Bundle) -> list[str]:
    """All starts, but of the encoders only the first that is no mapper, and the mapper."""
    encoders = [kind for kind in ENCODER_PARTS if kind in bundle.encoders]
    shown = [kind for kind in encoders if kind != MAPPER][:1]
    shown += [MAPPER] if MAPPER in encoders else []
    return [COLD, MEAN, *shown, *([LANDSCAPE] if bundle.landscape is not None else [])]


def run_curve(
    bundle: Bundle, start: Start, pictures: PictureSet, *, steps: Sequence[int], seed: int
) -> list[Point]:
    """Descend so many steps from a start, once for each number.

    Args:
        bundle: What to invert into.
        start: Where to begin.
        pictures: What to invert.
        steps: Lengths of the runs.
        seed: Of the random w of a cold start.

    Returns:
        For each length `steps`, `loss` by the default objective of descent, mean over the pictures,
        and `seconds` for each picture.
    """
    targets = pictures.pictures
    cold = sample_latents(bundle, len(targets), seed=seed) if start.name == COLD else None

    def run(chosen: slice, n: int) -> tuple[Tensor, float]:
        result = invert(
            bundle,
            targets[chosen],
            method=start.method,
            options={**start.options, "steps": n},
            start=None if cold is None else cold[chosen],
        )
        return losses(bundle, result.images, targets[chosen]), result.seconds

    run(slice(1), 1)  # what is computed once for a bundle belongs to no run
    points = []
    for n in steps:
        runs = [run(slice(i, i + BATCH), n) for i in range(0, len(targets), BATCH)]
        loss = torch.cat([values for values, _ in runs]).mean()
        seconds = sum(seconds for _, seconds in runs) / len(targets)
        points.append({"steps": n, "loss": round(float(loss), 6), "seconds": round(seconds, 6)})
    return points


@torch.no_grad()
def losses(bundle: Bundle, images: Tensor, targets: Tensor) -> Tensor:
    """Loss `[n]` of pictures by the default objective of descent in the largest space."""
    space = space_of(bundle.generator, None)
    objective = objective_of(bundle, targets, DistanceOptions(), space)
    return objective(images)[0]


def report(
    bundle: Bundle,
    starts: Sequence[Start],
    pictures: PictureSet,
    *,
    steps: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    """Measure all starts on the same pictures; the figures are JSON values."""
    return {
        "bundle": bundle.name,
        "resolution": bundle.generator.resolution,
        "trunk": bundle.perceptual.trunk,
        "set": pictures.name,
        "pictures": len(pictures.pictures),
        "seed": seed,
        "hardware": hardware(bundle.device),
        "series": {
            start.name: run_curve(bundle, start, pictures, steps=steps, seed=seed)
            for start in starts
        },
    }


def draw(figures: Mapping[str, Any]) -> str:
    """Plot the figures as SVG: loss by steps, and loss by seconds."""
    machine = figures["hardware"]
    name = machine["processor"] if machine["device"] == "cpu" else machine["device"]
    title = (
        f"Loss of a descent by its start: {figures['bundle']}, {figures['resolution']} px, "
        f"LPIPS on {figures['trunk']}\n"
        f"{figures['pictures']} {figures['set'].replace('_', ' ')}, seed {figures['seed']}; "
        f"{name}, {machine['threads']} thread(s), torch {machine['torch']}"
    )
    by = {
        axis: {
            start: [(point[axis], point["loss"]) for point in points]
            for start, points in figures["series"].items()
        }
        for axis in ("steps", "seconds")
    }
    below = {"steps": "steps", "seconds": "seconds for each picture, start included"}
    return plot([(below[axis], "loss", series) for axis, series in by.items()], title)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni evaluate curve", description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument(
        "--starts",
        metavar="A,B,…",
        help="cold, mean, an encoder, landscape, after landscape; default: all but the last",
    )
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), metavar="N,N,…")
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument(
        "--own",
        action="store_true",
        help="the generator's own samples, as for every model without a judge; not unseen renders",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--plot", type=Path, help="write the curves as SVG")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    """Measure the curves of a bundle, and write figures and plot."""
    parsed = _parser().parse_args(arguments)
    torch.set_num_threads(parsed.threads)
    bundle = load_bundle(parsed.bundle, device=parsed.device)
    names = parsed.starts.split(",") if parsed.starts else default_starts(bundle)
    make = own_samples if parsed.own or bundle.manifest.judge is None else unseen_renders
    figures = report(
        bundle,
        [read_start(name, bundle) for name in names],
        make(bundle, parsed.pictures, seed=parsed.seed),
        steps=[int(n) for n in parsed.steps.split(",")],
        seed=parsed.seed,
    )
    text = json.dumps(figures, indent=2)
    print(text)
    if parsed.out:
        parsed.out.write_text(text + "\n")
    if parsed.plot:
        parsed.plot.write_text(draw(figures), encoding="utf-8")
    return 0

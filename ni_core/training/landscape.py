"""`ni train landscape`: θ, a space in which plain gradient descent is fast.

For any generator with W, from its own samples, or from rendered portraits and these.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.errors import InvalidOptionError
from ni_core.inversion.distance import objective_of
from ni_core.inversion.landscape import LandscapeOptions, landscape
from ni_core.inversion.optimize import OptimizeOptions, optimize
from ni_core.landscapes import FAMILY, build_landscape
from ni_core.training.landscape_run import LandscapeRun, Recipe
from ni_core.training.latent_pairs import digest_of
from ni_core.training.picture_set import TEST_START, Pictures, open_pictures
from ni_core.training.portraits import factors_at, render
from ni_core.training.runs import (
    UNFINISHED,
    add_run_options,
    read_weights,
    train_run,
    write_part,
)
from ni_core.training.trajectories import Targets

SAMPLES = "samples"
"""Training on the generator's own samples alone."""

MEASURED_PICTURES = 8
"""Unseen pictures on which the result is compared with a cold descent."""

COLD_STEPS = 100
"""Steps of that descent."""


def measure(run: LandscapeRun, bundle: Bundle, targets: Tensor) -> dict[str, float]:
    """Compare θ with a cold descent in W+: mean loss over pictures that were not trained on.

    Args:
        run: Whose θ it is; taken in half precision, as it is stored.
        bundle: Generator and perceptual distance.
        targets: Pictures `[n, 3, r, r]`.

    Returns:
        The loss after the steps that θ was trained for, and after those of a cold `optimize`.
    """
    stored = {key: tensor.half().float() for key, tensor in run.landscape.state_dict().items()}
    equipped = replace(bundle, landscape=build_landscape(FAMILY, asdict(run.config), stored))
    options = LandscapeOptions(steps=run.config.steps)
    found = {
        f"landscape_{run.config.steps}": landscape(equipped, targets, options),
        f"cold_{COLD_STEPS}": optimize(bundle, targets, OptimizeOptions(steps=COLD_STEPS)),
    }
    objective = objective_of(bundle, targets, options, "w+")
    with torch.no_grad():
        losses = {
            name: objective(bundle.generator.synthesize(one.latents))[0].mean()
            for name, one in found.items()
        }
    return {name: round(float(loss), 5) for name, loss in losses.items()}


def unseen_pictures(bundle: Bundle, pictures: Pictures | None, seed: int) -> Tensor:
    """Pictures that no training has seen: renders where it had some, else own samples."""
    if pictures is None:
        numbers = torch.arange(MEASURED_PICTURES)
        return Targets(bundle.generator, None, seed + 1).take(numbers)
    indices = TEST_START + torch.arange(MEASURED_PICTURES)
    return render(factors_at(pictures.seed, indices).to(bundle.device), pictures.resolution)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni train landscape", description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder: whose latents")
    parser.add_argument(
        "--data",
        default=SAMPLES,
        help="samples: of the generator alone; FOLDER: most are pictures of a set; none: rendered",
    )
    parser.add_argument(
        "--start",
        type=Path,
        help="θ of the same generator to begin with: a training longer than planned",
    )
    parser.add_argument("--data-seed", type=int, default=1, help="stream of the set")
    add_run_options(parser, pictures=48_000)
    return parser


def _open(options: argparse.Namespace, bundle: Bundle) -> Pictures | None:
    if options.data == SAMPLES:
        return None
    resolution = bundle.generator.resolution
    return open_pictures(options.data, seed=options.data_seed, resolution=resolution)


def _begin(run: LandscapeRun, start: Mapping[str, Tensor], path: Path) -> None:
    try:
        run.begin_from(start)
    except RuntimeError as error:
        raise InvalidOptionError(
            f"{path} is no θ of this shape: {error}", option="start", value=str(path)
        ) from error


def main(arguments: list[str]) -> int:
    """Train θ, or continue, and write the part when it is done."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    bundle = load_bundle(options.bundle, device=options.device)
    for network in (cast(nn.Module, bundle.generator), bundle.perceptual):
        cast(Any, network).to(memory_format=torch.channels_last)
    pictures = _open(options, bundle)
    start = read_weights(options.start) if options.start else None
    recipe = Recipe(
        bundle=bundle.generator.fingerprint,
        data=SAMPLES if pictures is None else f"samples and renders of seed {pictures.seed}",
        horizon=options.pictures,
        seed=options.seed,
        features=digest_of(bundle.features.state_dict()) if bundle.features else None,
        start=digest_of(start) if start else None,
    )
    run = LandscapeRun(bundle, pictures, recipe)
    if start:
        _begin(run, start, options.start)
    if not train_run(run, options):
        return UNFINISHED
    losses = measure(run, bundle, unseen_pictures(bundle, pictures, options.seed))
    write_part(
        options.out,
        run.kind,
        run.landscape.state_dict(),
        family=FAMILY,
        config=run.config,
        generator=bundle.generator.fingerprint,
        training={"recipe": asdict(recipe), "pictures": run.seen, "losses": losses},
    )
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

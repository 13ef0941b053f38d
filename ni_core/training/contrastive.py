"""`ni train contrastive`: a feature network that learns from pictures alone, without labels."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ni_core.encoders.frozen import FeaturesConfig, FrozenFeatures
from ni_core.training.augmentations import Augmentations
from ni_core.training.contrastive_run import PICTURES, ContrastiveRecipe, ContrastiveRun
from ni_core.training.factor_reading import linear_reading
from ni_core.training.hardware import hardware
from ni_core.training.picture_set import Pictures, open_pictures
from ni_core.training.picture_streams import RENDERED_PX, open_stream
from ni_core.training.runs import UNFINISHED, add_run_options, seconds_of, train_run, write_part

LARGEST_PX = 64
"""Side of the pictures the network looks at, unless asked otherwise; bigger ones are shrunk."""


def _side_of(pixels: int) -> int:
    """The next side that the trunk can halve in each of its stages."""
    step: int = 2 ** (len(FeaturesConfig().widths) - 1)
    return -(-pixels // step) * step


def main(arguments: list[str]) -> int:
    """Train the features and write them with what a linear reading of them gives."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    stream = open_stream(
        options.data,
        options.bundle,
        seed=options.seed,
        resolution=options.resolution,
        limit=options.limit,
    )
    config = FeaturesConfig(side=options.side or _side_of(min(stream.resolution, LARGEST_PX)))
    recipe = ContrastiveRecipe(
        source=stream.name,
        pictures=options.pictures,
        features=config,
        views=Augmentations(side=_side_of(config.side * 3 // 4), flip=options.flip),
        batch=options.batch,
        seed=options.seed,
    )
    run = ContrastiveRun(recipe, stream, torch.device(options.device))
    if not train_run(run, options):
        return UNFINISHED
    facts: dict[str, Any] = {"seconds": seconds_of(options.out)}
    if options.data != "samples" and options.read:
        unseen = open_pictures(
            options.data, seed=options.seed + 1, resolution=stream.resolution, limit=options.read
        )
        facts |= _figures(run, unseen, options.read)
    _write(options.out, run, facts)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni train contrastive", description=__doc__)
    add_run_options(parser, pictures=PICTURES)
    parser.add_argument("--data", default="none", help="folder of a set, none, or samples")
    parser.add_argument("--bundle", help="whose samples, with --data samples")
    parser.add_argument("--resolution", type=int, default=RENDERED_PX, help="of the renders")
    parser.add_argument("--limit", type=int, help="pictures in the training set")
    parser.add_argument("--side", type=int, help="pictures are brought to so many pixels")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--flip", action="store_true", help="mirror half of the views")
    parser.add_argument(
        "--read", type=int, default=6000, help="renders of the next seed for the linear reading"
    )
    return parser


def _write(folder: Path, run: ContrastiveRun, facts: Mapping[str, Any]) -> None:
    write_part(
        folder,
        run.kind,
        run.features.state_dict(),
        family=run.recipe.features.network,
        config=run.recipe.features,
        generator=None,
        training={"recipe": asdict(run.recipe), "hardware": hardware(run.device), **facts},
    )


def _figures(run: ContrastiveRun, pictures: Pictures, n: int) -> dict[str, Any]:
    """What a linear reading gives of the trained network, and of one with random weights."""
    torch.manual_seed(run.recipe.seed)
    untrained = FrozenFeatures(run.recipe.features).to(run.device)
    return {
        "linear_reading": linear_reading(run.features, pictures, n),
        "linear_reading_of_random_weights": linear_reading(untrained, pictures, n),
        "linear_reading_pictures": n,
    }


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

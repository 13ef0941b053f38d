"""`ni train e4e`, `psp`, `restyle`: a compact encoder for the generator of a bundle."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.checkpoints.features import load_features
from ni_core.encoders.frozen import FrozenFeatures
from ni_core.errors import InvalidOptionError
from ni_core.metrics import compare
from ni_core.perceptual import Perceptual
from ni_core.training.distortion import Distortion
from ni_core.training.encoder_batches import compared_px
from ni_core.training.encoder_recipes import KINDS, PICTURES, EncoderRecipe
from ni_core.training.encoder_run import EncoderRun
from ni_core.training.hardware import hardware
from ni_core.training.latent_pairs import digest_of
from ni_core.training.own_samples import draw_rows
from ni_core.training.picture_set import TEST_START, FreshPictures, open_pictures
from ni_core.training.picture_streams import PictureStream, Renders
from ni_core.training.runs import (
    UNFINISHED,
    add_run_options,
    random_of,
    read_weights,
    seconds_of,
    train_run,
    write_part,
)

STREAM = 1
"""Seed of the renders to train on: not the judge's."""

TESTED = 64
"""Unseen pictures of each source that the result is measured on."""


def main(arguments: list[str]) -> int:
    """Train an encoder, or go on; write it with its errors on unseen pictures."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    bundle = load_bundle(options.bundle, device=options.device)
    run = _make(options, bundle)
    if not train_run(run, options):
        return UNFINISHED
    write_part(
        options.out,
        run.kind,
        run.average.state_dict(),
        family=run.average.family,
        config=run.average.config,
        generator=bundle.generator.fingerprint,
        training={
            "recipe": asdict(run.recipe),
            "pictures": run.seen,
            "seconds": seconds_of(options.out),
            "hardware": hardware(run.device),
            "errors": measure(run, bundle.perceptual, TESTED),
        },
    )
    return 0


def measure(run: EncoderRun, perceptual: Perceptual, n: int) -> dict[str, dict[str, Any]]:
    """Mean errors of the averaged weights on unseen pictures.

    Args:
        run: A trained one.
        perceptual: The distance.
        n: Pictures of each source.

    Returns:
        Source -> mse, psnr, ssim, lpips, the trunk of LPIPS and n; `samples`, and `renders` if
        the encoder was trained on some.
    """
    targets = {"samples": run.pictures(draw_rows(run.generator, n, random_of(0, 0, stream=3)))}
    if run.batches.stream is not None:
        fresh = FreshPictures(seed=STREAM, resolution=compared_px(run.generator))
        targets["renders"] = fresh.take(torch.arange(TEST_START, TEST_START + n), run.device)
    return {name: _mean_errors(run, perceptual, pictures) for name, pictures in targets.items()}


def _mean_errors(run: EncoderRun, perceptual: Perceptual, targets: Tensor) -> dict[str, Any]:
    errors = [
        row
        for part in targets.split(16)
        for row in compare(run.reconstruct(part), part, perceptual)
    ]
    means = {
        name: round(sum(row[name] for row in errors) / len(errors), 5)
        for name in ("mse", "psnr", "ssim", "lpips")
    }
    return {**means, "trunk": perceptual.trunk, "pictures": len(errors)}


def _make(options: argparse.Namespace, bundle: Bundle) -> EncoderRun:
    """The run that the options ask for, with the weights it begins with."""
    device = torch.device(options.device)
    stream = _open(options.data, bundle, options.limit)
    features = bundle.features
    if options.features:
        features = load_features(options.features, options.weights, side=options.side).to(device)
    start = read_weights(options.start) if options.start else None
    recipe = _recipe(options, bundle, stream, features, start)
    distortion = Distortion(bundle.perceptual, features, recipe.coefficients)
    run = EncoderRun(recipe, bundle.generator, distortion, stream, device)
    if start is not None and not run.begin_from(start):
        raise InvalidOptionError(
            f"no tensor of {options.start} has the name and the shape of one of this encoder",
            option="start",
            value=str(options.start),
        )
    return run


def _open(data: str, bundle: Bundle, limit: int | None) -> PictureStream | None:
    if data == "samples":
        return None
    side = compared_px(bundle.generator)
    return Renders(open_pictures(data, seed=STREAM, resolution=side, limit=limit))


def _recipe(
    options: argparse.Namespace,
    bundle: Bundle,
    stream: PictureStream | None,
    features: FrozenFeatures | None,
    start: dict[str, Tensor] | None,
) -> EncoderRecipe:
    """The kind's recipe with what the options change."""
    changes = ("batch", "fitted", "rate", "iterations", "input_px")
    given = {name: value for name in changes if (value := getattr(options, name)) is not None}
    fields: dict[str, Any] = {
        **KINDS[options.kind],
        "source": stream.name if stream else None,
        "generator": bundle.generator.fingerprint,
        "features": digest_of(features.state_dict()) if features else None,
        "start": digest_of(start) if start else None,
        "pictures": options.pictures,
        "seed": options.seed,
        **given,
    }
    return EncoderRecipe(kind=options.kind, **fields)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ni train e4e | ni train psp | ni train restyle", description=__doc__
    )
    parser.add_argument("--kind", choices=sorted(KINDS), required=True)
    parser.add_argument("--bundle", default="portraits", help="name or folder: whose latents")
    parser.add_argument(
        "--data",
        default="samples",
        help="folder of a set of portraits, or none to render them: half of each batch; "
        "samples for the generator's own pictures alone",
    )
    parser.add_argument("--limit", type=int, help="use the first so many pictures of the set")
    parser.add_argument(
        "--features",
        help="feature network of the loss instead of the bundle's: what `ni train contrastive` "
        "wrote, or PACKAGE:NAME of torchvision, timm or open_clip",
    )
    parser.add_argument("--weights", type=Path, help="weights of PACKAGE:NAME")
    parser.add_argument("--side", type=int, help="pixels a side for PACKAGE:NAME")
    parser.add_argument("--start", type=Path, help="encoder to begin with, where shapes fit")
    parser.add_argument("--input-px", type=int, help="side of the picture the encoder looks at")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--fitted", type=int, help="samples the linear part is fitted to")
    parser.add_argument("--rate", type=float, help="highest learning rate")
    parser.add_argument("--iterations", type=int, help="passes, of restyle")
    add_run_options(parser, pictures=PICTURES)
    return parser


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

"""`ni train mapper`: frozen features to latents, learnt from a generator's own samples alone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.checkpoints.features import load_features
from ni_core.encoders.mapper import LatentMapper, MapperConfig
from ni_core.generators.protocol import require_space
from ni_core.images import grid
from ni_core.training.hardware import hardware
from ni_core.training.latent_pairs import LatentPairs, PairRecipe, digest_of, pictures_of
from ni_core.training.mapper_figures import figures, unseen_pictures
from ni_core.training.mapper_run import MapperRecipe, MapperRun
from ni_core.training.masks import hide, right_half
from ni_core.training.runs import UNFINISHED, add_run_options, seconds_of, train_run, write_part

PICTURES = 512_000
"""Length of a training; each of the samples comes again and again."""

SAMPLES = 16_384
"""Different pictures of the generator."""

SHOWN = 8
"""Pictures on the sheet."""


def main(arguments: list[str]) -> int:
    """Make the pairs, train the mapper and write it with its figures on unseen pictures."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    bundle = load_bundle(options.bundle, device=options.device)
    mapper = _mapper(options, bundle)
    pairs = LatentPairs(
        options.pairs or options.out / "pairs",
        _pair_recipe(options, bundle, mapper),
        mapper,
        bundle.generator,
    )
    tested = unseen_pictures(bundle, renders=options.renders)
    run = MapperRun(
        _recipe(options, pairs.recipe, mapper.config),
        mapper,
        bundle,
        *pairs.take(options.samples),
        lambda trained: _sheet(trained, bundle, tested),
    )
    if not train_run(run, options):
        return UNFINISHED
    facts = {"pair_seconds": pairs.seconds(options.samples), "seconds": seconds_of(options.out)}
    _write(options.out, run, bundle, {**facts, "figures": figures(mapper, bundle, tested)})
    return 0


def _write(folder: Path, run: MapperRun, bundle: Bundle, facts: Mapping[str, Any]) -> None:
    write_part(
        folder,
        run.kind,
        run.mapper.freeze().state_dict(),
        family=LatentMapper.family,
        config=run.mapper.config,
        generator=bundle.generator.fingerprint,
        training={"recipe": asdict(run.recipe), "hardware": hardware(run.device), **facts},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni train mapper", description=__doc__)
    add_run_options(parser, pictures=PICTURES)
    parser.add_argument("--bundle", required=True, help="name or folder: the generator to learn")
    parser.add_argument(
        "--features",
        required=True,
        help="file or folder of `ni train contrastive`, or PACKAGE:NAME, as torchvision:resnet18",
    )
    parser.add_argument("--data", choices=("samples",), default="samples", help="there is no other")
    parser.add_argument("--weights", type=Path, help="weights of PACKAGE:NAME")
    parser.add_argument("--side", type=int, help="of the pictures PACKAGE:NAME looks at, pixels")
    parser.add_argument("--space", choices=("z", "w", "w+"), help="default: w+, or z without W")
    parser.add_argument("--architecture", choices=("plain", "multi-level"), default="multi-level")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="different pictures")
    parser.add_argument("--mixing", type=float, default=0.5, help="part of them with mixed rows")
    parser.add_argument("--pairs", type=Path, help="folder of latents and features; default in OUT")
    parser.add_argument("--probes", type=int, default=512, help="0: all errors weigh alike")
    parser.add_argument("--unmasked", action="store_true", help="whole pictures only")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=256, help="width of the network")
    parser.add_argument("--level", type=int, default=64, help="numbers read of each inner map")
    parser.add_argument("--rank", type=int, default=112, help="of the linear map; 0: none")
    parser.add_argument("--renders", type=int, default=0, help="portraits to test on as well")
    return parser


def _mapper(options: argparse.Namespace, bundle: Bundle) -> LatentMapper:
    """The frozen features with a head of random weights."""
    features = load_features(options.features, options.weights, side=options.side)
    generator = bundle.generator
    space = options.space or ("w+" if generator.num_layers else "z")
    config = MapperConfig(
        space=require_space(generator, space),
        num_layers=generator.num_layers,
        w_dim=generator.w_dim,
        z_dim=generator.z_dim,
        architecture=options.architecture,
        hidden=options.hidden,
        level=options.level,
        rank=options.rank,
        features=features.config,
    )
    config = replace(config, rank=min(config.rank, sum(config.levels), prod(config.latent_shape)))
    mapper = LatentMapper(config)
    mapper.features = features.to(memory_format=torch.channels_last)
    return mapper.to(options.device)


def _recipe(options: argparse.Namespace, pairs: PairRecipe, config: MapperConfig) -> MapperRecipe:
    return MapperRecipe(
        pairs=pairs,
        samples=options.samples,
        config=config,
        pictures=options.pictures,
        masked=0.0 if options.unmasked else 0.5,
        probes=options.probes,
        batch=options.batch,
        seed=options.seed,
    )


def _pair_recipe(options: argparse.Namespace, bundle: Bundle, mapper: LatentMapper) -> PairRecipe:
    config = mapper.config
    return PairRecipe(
        generator=bundle.generator.fingerprint,
        features=digest_of(mapper.features.state_dict()),
        read=f"{config.architecture} {config.grid}",
        space=config.space,
        mixing=options.mixing if config.space == "w+" else 0.0,
        seed=options.seed,
    )


def _sheet(mapper: LatentMapper, bundle: Bundle, tested: dict[str, Tensor]) -> Tensor:
    """Rows of each source: pictures, what is made of them, halves, what is made of those."""
    rows = []
    for pictures in tested.values():
        shown = pictures[:SHOWN]
        halved = hide(shown, right_half(shown.shape[-1]).to(shown.device))
        for given in (shown, halved):
            rows += [given, pictures_of(bundle.generator, mapper.map(given), mapper.config.space)]
    return grid(torch.cat(rows), SHOWN)


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

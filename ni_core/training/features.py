"""`ni train features`: the critics' regressors, the perceptual trunk and the judge."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ni_core.training.judge import Judge, export_judge
from ni_core.training.picture_set import open_pictures
from ni_core.training.regressor import (
    Regressor,
    SqueezeNetRegressor,
    determination,
    save_regressor,
    train_regressor,
)
from ni_core.training.residual_regressor import ResidualRegressor, export_reader

BATCH = 64
"""Pictures per step."""

RATES = {"critic": 4e-3, "reader": 2e-3, "trunk": 1e-3, "judge": 2e-3}
"""Highest learning rate of each network."""

NETWORKS = {
    "critic": Regressor,
    "reader": ResidualRegressor,
    "trunk": SqueezeNetRegressor,
    "judge": Judge,
}
"""The networks by the name of their use."""

SEEDS = {"critic": 1, "reader": 1, "trunk": 1, "judge": 2}
"""Streams of renders: what judges has seen none of what it judges by was trained on."""

TEST_PICTURES = 2000
"""Unseen renders on which R² is measured."""


def export_trunk(network: SqueezeNetRegressor, path: Path) -> None:
    """Write `features.*` in half precision under torchvision's names."""
    weights = {
        f"features.{name}": value.half().contiguous()
        for name, value in network.features.state_dict().items()
    }
    save_file(weights, path)


def main(arguments: list[str]) -> int:
    """Train one of the networks and write it with its R² per factor."""
    parser = argparse.ArgumentParser(prog="ni train features", description=__doc__)
    parser.add_argument("--kind", choices=sorted(RATES), required=True)
    parser.add_argument("--data", default="none", help="folder of a set, or none to render")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--pictures", type=int, default=24576, help="pictures in the training set")
    parser.add_argument("--resolution", type=int, default=64, help="side of the pictures")
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--start", type=Path, help="weights to start from: an earlier result")
    parser.add_argument("--seed", type=int, help="of weights, order and pictures")
    parser.add_argument("--test-pictures", type=int, default=TEST_PICTURES, help="for R²")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    seed = SEEDS[options.kind] if options.seed is None else options.seed
    torch.set_num_threads(options.threads)
    torch.manual_seed(seed)
    device = torch.device(options.device)
    pictures = open_pictures(
        options.data, seed=seed, resolution=options.resolution, limit=options.pictures
    )
    network = NETWORKS[options.kind](options.resolution)
    if options.start:
        network.load_state_dict(load_file(options.start))
    train_regressor(
        network,
        pictures,
        steps=int(options.pictures * options.epochs) // BATCH,
        batch=BATCH,
        rate=RATES[options.kind],
        seed=seed,
        device=device,
    )
    scores = determination(network, seed=seed, n=options.test_pictures, device=device)
    options.out.mkdir(parents=True, exist_ok=True)
    save_regressor(network, options.out / f"{options.kind}.safetensors")
    if isinstance(network, SqueezeNetRegressor):
        export_trunk(network, options.out / "trunk_features.safetensors")
    if isinstance(network, Judge):
        export_judge(network, options.out / "judge_half.safetensors")
    elif isinstance(network, ResidualRegressor):
        facts = {"seed": seed, "pictures": options.pictures, "epochs": options.epochs}
        export_reader(network, options.out / "reader", training={**facts, "r2": scores})
    (options.out / f"{options.kind}.json").write_text(json.dumps(scores, indent=2) + "\n")
    print(json.dumps(scores))
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

"""`ni train export`: make a bundle of a training checkpoint and a trunk."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ni_core.generators.stylegan2 import StyleGAN2
from ni_core.training.generator import CONFIG, read_checkpoint

AVERAGE_SAMPLES = 100_000
"""Latents whose mean w is `w_avg`."""

PARTS = 10
"""The mean is taken in so many parts."""


@torch.no_grad()
def average_w(generator: StyleGAN2, *, seed: int) -> Tensor:
    """Mean of w over z, `[w_dim]`."""
    random = torch.Generator().manual_seed(seed)
    n = AVERAGE_SAMPLES // PARTS
    means = [
        generator.map(torch.randn(n, generator.z_dim, generator=random)).mean(dim=0)
        for _ in range(PARTS)
    ]
    return torch.stack(means).mean(dim=0)


def export_generator(weights: dict[str, Tensor], path: Path, *, seed: int) -> None:
    """Write averaged weights in half precision, with `w_avg` in single precision.

    Args:
        weights: State of the weight average.
        path: The safetensors file.
        seed: Of the latents behind `w_avg`.
    """
    generator = StyleGAN2(CONFIG)
    generator.load_state_dict({name: value.half().float() for name, value in weights.items()})
    stored = {name: value.half().contiguous() for name, value in generator.state_dict().items()}
    stored["w_avg"] = average_w(generator.eval(), seed=seed)
    save_file(stored, path)
    path.chmod(0o644)


def manifest(*, training: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """The manifest of the embedded bundle."""
    return {
        "name": "portraits",
        "version": 1,
        "licence": "Apache-2.0",
        "resolution": CONFIG.resolution,
        "generator": {
            "file": "generator.safetensors",
            "family": StyleGAN2.family,
            "config": asdict(CONFIG),
        },
        "trunk": {
            "file": "trunk.safetensors",
            "architecture": "squeezenet1_1",
            "resolution": CONFIG.resolution,
            "name": "portraits-squeeze",
        },
        "training": training,
        "figures": figures,
    }


def _read_json(path: Path | None) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text()) if path else {}
    return document


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni train export", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of `ni train generator`")
    parser.add_argument(
        "--features", type=Path, required=True, help="folder of `ni train features`"
    )
    parser.add_argument("--figures", type=Path, help="JSON of `ni evaluate generator`")
    parser.add_argument("--note", action="append", default=[], metavar="KEY=TEXT")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    """Write generator, trunk and manifest into one folder."""
    options = _parser().parse_args(arguments)
    checkpoint = read_checkpoint(options.checkpoint)
    options.out.mkdir(parents=True, exist_ok=True)
    export_generator(
        checkpoint["run"]["average"], options.out / "generator.safetensors", seed=options.seed
    )
    shutil.copyfile(
        options.features / "trunk_features.safetensors", options.out / "trunk.safetensors"
    )
    training = {
        "pictures_seen": checkpoint["run"]["seen"],
        "pictures_in_set": checkpoint["limit"],
        "recipe": checkpoint["recipe"],
        **dict(note.split("=", 1) for note in options.note),
    }
    figures = _read_json(options.figures) | {
        "r2_critic": _read_json(options.features / "critic.json"),
        "r2_trunk": _read_json(options.features / "trunk.json"),
    }
    document = manifest(training=training, figures=figures)
    (options.out / "manifest.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

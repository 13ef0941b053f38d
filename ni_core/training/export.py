"""`ni train export`: make a bundle of a training checkpoint and its networks, or of another bundle.

Of another bundle everything is kept for which nothing newer is given: a part or a figure can be
exchanged long after the generator's checkpoint is gone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ni_core.bundles.bundle import bundle_folder
from ni_core.bundles.manifest import MANIFEST, read_manifest
from ni_core.bundles.parts import add_parts, find_parts
from ni_core.errors import CheckpointError
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.training.checkpoint import Checkpoint, read_checkpoint
from ni_core.training.snapshots import list_snapshots

AVERAGE_SAMPLES = 100_000
"""Latents whose mean w is `w_avg`."""

PARTS = 10
"""The mean is taken in so many parts."""

NETWORKS = ("critic", "reader", "trunk", "judge")
"""Networks beside the generator; `KIND.json` has the R² of each."""

FILES = {
    "trunk.safetensors": "trunk_features.safetensors",
    "judge.safetensors": "judge_half.safetensors",
}
"""Files of the bundle, and what `ni train features` calls them; the judge may be missing."""


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


def export_generator(
    config: StyleGAN2Config, weights: dict[str, Tensor], path: Path, *, seed: int
) -> None:
    """Write averaged weights in half precision, with `w_avg` in single precision.

    Args:
        config: The architecture.
        weights: State of the weight average.
        path: The safetensors file.
        seed: Of the latents behind `w_avg`.
    """
    generator = StyleGAN2(config)
    generator.load_state_dict({name: value.half().float() for name, value in weights.items()})
    stored = {name: value.half().contiguous() for name, value in generator.state_dict().items()}
    stored["w_avg"] = average_w(generator.eval(), seed=seed)
    save_file(stored, path)


def manifest(
    config: StyleGAN2Config,
    *,
    version: int,
    judge: bool,
    training: dict[str, Any],
    figures: dict[str, Any],
) -> dict[str, Any]:
    """The manifest of the embedded bundle."""
    document: dict[str, Any] = {
        "name": "portraits",
        "version": version,
        "licence": "Apache-2.0",
        "resolution": config.resolution,
        "generator": {
            "file": "generator.safetensors",
            "family": StyleGAN2.family,
            "config": asdict(config),
        },
        "trunk": {
            "file": "trunk.safetensors",
            "architecture": "squeezenet1_1",
            "resolution": config.resolution,
            "name": "portraits-squeeze",
        },
        "judge": {"file": "judge.safetensors", "name": "portraits-judge"},
        "training": training,
        "figures": figures,
    }
    return document if judge else {k: v for k, v in document.items() if k != "judge"}


def describe_training(checkpoint: Checkpoint) -> dict[str, Any]:
    """How the generator was trained: numbers, and a stretch for each recipe and machine."""
    last = checkpoint.stretches[-1]
    return {
        "supervision": "adversarial; no factor supervises the generator",
        "pictures_seen": checkpoint.seen,
        "pictures_in_set": checkpoint.limit,
        "seed": last.recipe["seed"],
        "minutes": round(sum(stretch.seconds for stretch in checkpoint.stretches) / 60, 1),
        "hardware": last.hardware,
        "stretches": [asdict(stretch) for stretch in checkpoint.stretches],
    }


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every network's file in a bundle, for `ni models verify`."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.safetensors"))
    }


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, or the newest one of a run's folder.

    Raises:
        CheckpointError: There is none, or it cannot be read.
    """
    if list_snapshots(path):
        path = list_snapshots(path)[-1]
    if not path.is_dir():
        raise CheckpointError(f"{path} is neither a checkpoint nor a folder of checkpoints")
    return read_checkpoint(path)


def _new_bundle(options: argparse.Namespace) -> dict[str, Any]:
    """Write generator, trunk and judge of a training; returns the manifest."""
    checkpoint = open_checkpoint(options.checkpoint)
    export_generator(
        checkpoint.config,
        checkpoint.part("average"),
        options.out / "generator.safetensors",
        seed=options.seed,
    )
    for name, source in FILES.items():
        if name == "trunk.safetensors" or (options.features / source).exists():
            shutil.copyfile(options.features / source, options.out / name)
    return manifest(
        checkpoint.config,
        version=options.version or 1,
        judge=(options.out / "judge.safetensors").exists(),
        training=describe_training(checkpoint),
        figures={},
    )


def _kept_bundle(options: argparse.Namespace) -> dict[str, Any]:
    """Copy the networks of another bundle; returns its manifest with the new version."""
    kept = read_manifest(bundle_folder(options.bundle))
    for file in kept.files:
        shutil.copyfile(kept.path(file), options.out / file)
    version = options.version or kept.version + 1
    return {"training": {}, "figures": {}, **_read_json(kept.path(MANIFEST)), "version": version}


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni train export", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="of `ni train generator`, or its --out")
    source.add_argument("--bundle", help="name or folder: whose rest is kept")
    parser.add_argument(
        "--features", type=Path, help="folder of `ni train features`; with --bundle, its R² alone"
    )
    parser.add_argument(
        "--figures", type=Path, action="append", default=[], help="JSON of an `ni evaluate` command"
    )
    parser.add_argument("--networks", type=Path, help="JSON: how each network was trained")
    parser.add_argument(
        "--part", type=Path, action="append", default=[], help="folder of a part's training"
    )
    parser.add_argument("--note", action="append", default=[], metavar="KEY=TEXT")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--version", type=int, help="of the weights; default 1, or the next")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    """Write generator, trunk, judge, other parts and manifest into one folder."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.checkpoint and not options.features:
        parser.error("--checkpoint needs --features")
    if options.bundle and bundle_folder(options.bundle).resolve() == options.out.resolve():
        parser.error("--out is the bundle itself: name another folder")
    options.out.mkdir(parents=True, exist_ok=True)
    document = _new_bundle(options) if options.checkpoint else _kept_bundle(options)
    training, figures = document["training"], document["figures"]
    training |= {"networks": _read_json(options.networks)} if options.networks else {}
    training |= dict(note.split("=", 1) for note in options.note)
    figures |= {path.stem: _read_json(path) for path in options.figures}
    scores = {kind: options.features / f"{kind}.json" for kind in NETWORKS if options.features}
    figures.setdefault("r2", {}).update(
        {kind: _read_json(path) for kind, path in scores.items() if path.exists()}
    )
    document["source"] = {"sha256": digests(options.out)}
    (options.out / MANIFEST).write_text(json.dumps(document, indent=2) + "\n")
    add_parts(options.out, [part for folder in options.part for part in find_parts(folder)])
    for file in options.out.iterdir():
        file.chmod(0o644)
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

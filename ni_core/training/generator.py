"""`ni train generator`: train a StyleGAN2 on portraits, with checkpoints and sheets."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ni_core.generators.stylegan2 import StyleGAN2Config
from ni_core.images import encode_image, grid
from ni_core.training.adversarial import AdversarialRun, Recipe
from ni_core.training.picture_set import open_pictures
from ni_core.training.regressor import load_regressor

CONFIG = StyleGAN2Config(
    resolution=64,
    z_dim=64,
    w_dim=128,
    mapping_layers=3,
    channels=(128, 128, 96, 64, 32),
    noise=False,
)
"""The generator of the embedded bundle."""

RECIPE = Recipe()
"""How it is trained; the command's options change some of it."""

LOG_PICTURES = 1_000
"""Pictures between two lines of the log."""

SHEET_PICTURES = 10_000
"""Pictures between two contact sheets."""

KEPT_CHECKPOINTS = 8
"""Older checkpoints are deleted."""


def save_checkpoint(run: AdversarialRun, folder: Path, limit: int | None) -> Path:
    """Write a checkpoint, whole or not at all, and drop the oldest ones.

    Args:
        run: What to save.
        folder: Where checkpoints are kept.
        limit: Number of pictures in the set, so that a resumed run draws the same ones.
    """
    path = folder / f"checkpoint-{run.seen:08d}.pt"
    partial = path.with_suffix(".partial")
    recipe = json.loads(json.dumps(asdict(run.recipe)))
    torch.save({"run": run.state(), "limit": limit, "recipe": recipe}, partial)
    partial.rename(path)
    for old in sorted(folder.glob("checkpoint-*.pt"))[:-KEPT_CHECKPOINTS]:
        old.unlink()
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it."""
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint


def write_sheet(run: AdversarialRun, folder: Path, *, n: int = 60) -> None:
    """Write samples of the averaged weights, the same latents every time."""
    path = folder / f"samples-{run.seen:08d}.png"
    path.write_bytes(encode_image(grid(run.sample(n).cpu(), columns=10)))


def train(
    run: AdversarialRun, folder: Path, *, pictures: int, limit: int | None, checkpoint_s: float
) -> None:
    """Train until `pictures` have been seen; log, save and show on the way.

    Args:
        run: Fresh or resumed.
        folder: Receives `log.jsonl`, checkpoints and sheets.
        pictures: Where to stop.
        limit: Number of pictures in the set, kept in checkpoints.
        checkpoint_s: Seconds between two checkpoints.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started, first, saved, logged = time.monotonic(), run.seen, time.monotonic(), run.seen
    sums: dict[str, Tensor] = {}
    while run.seen < pictures:
        before = run.seen
        for name, loss in run.step().items():
            sums[name] = sums.get(name, 0) + loss
        if _crossed(before, run.seen, LOG_PICTURES):
            speed = (run.seen - first) / (time.monotonic() - started)
            _log(folder, run.seen, speed, sums, (run.seen - logged) // run.recipe.batch)
            sums, logged = {}, run.seen
        if _crossed(before, run.seen, SHEET_PICTURES):
            write_sheet(run, folder)
        if time.monotonic() - saved > checkpoint_s:
            save_checkpoint(run, folder, limit)
            saved = time.monotonic()
    save_checkpoint(run, folder, limit)


def _crossed(before: int, after: int, interval: int) -> bool:
    return before // interval != after // interval


def _log(folder: Path, seen: int, speed: float, sums: dict[str, Tensor], steps: int) -> None:
    """Append one line: pictures seen, speed since the start, means of the losses."""
    line = {"pictures": seen, "pictures_per_s": round(speed, 1)}
    line |= {name: round(value.item() / steps, 4) for name, value in sums.items()}
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni train generator", description=__doc__)
    parser.add_argument("--data", default="none", help="folder of a set, or none to render")
    parser.add_argument("--limit", type=int, help="use the first so many pictures of the set")
    parser.add_argument("--critic", type=Path, required=True, help="regressor: critic.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and log")
    parser.add_argument("--pictures", type=int, default=400_000, help="when to stop")
    parser.add_argument("--settle", type=int, default=RECIPE.settle, help="when to calm down")
    parser.add_argument("--batch", type=int, default=RECIPE.batch)
    parser.add_argument("--generator-rate", type=float, default=RECIPE.generator_rate)
    parser.add_argument("--critic-rate", type=float, default=RECIPE.critic_rate)
    parser.add_argument("--pixel-coefficient", type=float, default=RECIPE.pixel_coefficient)
    parser.add_argument("--mixing", type=float, default=RECIPE.mixing)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="checkpoint to continue from")
    parser.add_argument("--checkpoint-s", type=float, default=300)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    """Train, or continue a training."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    checkpoint = read_checkpoint(options.resume) if options.resume else None
    limit = options.limit or (checkpoint["limit"] if checkpoint else None)
    pictures = open_pictures(
        options.data, seed=options.seed, resolution=CONFIG.resolution, limit=limit
    )
    recipe = replace(
        RECIPE,
        batch=options.batch,
        generator_rate=options.generator_rate,
        critic_rate=options.critic_rate,
        pixel_coefficient=options.pixel_coefficient,
        mixing=options.mixing,
        settle=options.settle,
        seed=options.seed,
    )
    device = torch.device(options.device)
    run = AdversarialRun(CONFIG, recipe, pictures, load_regressor(options.critic), device)
    if checkpoint:
        run.load_state(checkpoint["run"])
    train(
        run,
        options.out,
        pictures=options.pictures,
        limit=len(pictures),
        checkpoint_s=options.checkpoint_s,
    )
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

"""`ni train generator`: train a StyleGAN2 on portraits, with checkpoints and sheets."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from ni_core.errors import InvalidOptionError
from ni_core.images import encode_image, grid
from ni_core.perceptual import Perceptual, load_perceptual
from ni_core.training.adversarial import AdversarialRun, Guides
from ni_core.training.checkpoint import (
    Checkpoint,
    Stretch,
    join_stretches,
    read_checkpoint,
    write_checkpoint,
)
from ni_core.training.hardware import Hardware, hardware
from ni_core.training.picture_set import open_pictures
from ni_core.training.recipes import SETTINGS, Recipe
from ni_core.training.regressor import load_regressor
from ni_core.training.residual_regressor import ResidualRegressor
from ni_core.training.snapshots import list_snapshots

LOG_PICTURES = 1_000
"""Pictures between two lines of the log."""

SHEET_PICTURES = 10_000
"""Pictures between two contact sheets."""

LATEST = "latest"
"""Value of `--resume` that means the newest checkpoint of `--out`, if there is one."""


@dataclass
class Session:
    """One sitting of a training: where its files go, and what came before.

    Attributes:
        folder: Receives `log.jsonl`, checkpoints and sheets.
        machine: What it runs on.
        first: Pictures seen when it began.
        past: How the run came that far.
        began: Its first moment on the monotonic clock.
    """

    folder: Path
    machine: Hardware
    first: int = 0
    past: tuple[Stretch, ...] = ()
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Wall time since it began."""
        return time.monotonic() - self.began

    def save(self, run: AdversarialRun) -> Path:
        """Write a checkpoint."""
        recipe = json.loads(json.dumps(asdict(run.recipe)))
        now = Stretch(self.first, run.seen, round(self.seconds, 1), recipe, self.machine)
        checkpoint = Checkpoint(
            config=run.generator.config,
            seen=run.seen,
            limit=len(run.pictures),
            stretches=join_stretches([*self.past, now]),
            tensors=run.tensors(),
        )
        return write_checkpoint(checkpoint, self.folder)

    def log(self, run: AdversarialRun, sums: dict[str, Tensor], pictures: int) -> None:
        """Append one line: pictures seen, speed since the start, means of the losses."""
        speed = (run.seen - self.first) / self.seconds
        line: dict[str, float] = {"pictures": run.seen, "pictures_per_s": round(speed, 1)}
        steps = pictures / run.recipe.batch
        line |= {name: round(value.item() / steps, 4) for name, value in sums.items()}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def draw(self, run: AdversarialRun, *, n: int = 60) -> None:
        """Write samples of the averaged weights, the same latents every time."""
        path = self.folder / f"samples-{run.seen:08d}.png"
        path.write_bytes(encode_image(grid(run.sample(n).cpu(), columns=10)))


def train(
    run: AdversarialRun,
    session: Session,
    *,
    pictures: int,
    checkpoint_s: float = math.inf,
    seconds: float = math.inf,
) -> None:
    """Train until `pictures` have been seen; log, save and show on the way.

    Args:
        run: Fresh or resumed.
        session: Where to write.
        pictures: Where to stop.
        checkpoint_s: Seconds between two checkpoints; there is one at the end.
        seconds: Stop when the session is as old as this.
    """
    session.folder.mkdir(parents=True, exist_ok=True)
    saved, logged = time.monotonic(), run.seen
    sums: dict[str, Tensor] = {}
    while run.seen < pictures and session.seconds < seconds:
        before = run.seen
        for name, loss in run.step().items():
            sums[name] = sums.get(name, 0) + loss
        if _crossed(before, run.seen, LOG_PICTURES):
            session.log(run, sums, run.seen - logged)
            sums, logged = {}, run.seen
        if _crossed(before, run.seen, SHEET_PICTURES):
            session.draw(run)
        if time.monotonic() - saved > checkpoint_s:
            session.save(run)
            saved = time.monotonic()
    session.save(run)


def _crossed(before: int, after: int, interval: int) -> bool:
    return before // interval != after // interval


def find_start(folder: Path, resume: str | None) -> Checkpoint | None:
    """Find what to continue from.

    Args:
        folder: The run's checkpoints.
        resume: Path of a checkpoint; `latest` for the newest of the folder, if there is one;
            None to begin afresh.

    Raises:
        InvalidOptionError: The folder holds checkpoints that would mix with the new ones.
        CheckpointError: The checkpoint cannot be read.
    """
    there = list_snapshots(folder)
    if resume == LATEST:
        return read_checkpoint(there[-1]) if there else None
    start = read_checkpoint(Path(resume)) if resume else None
    if there and (start is None or there[-1].name > f"checkpoint-{start.seen:08d}"):
        raise InvalidOptionError(
            f"{folder} already holds {there[-1].name}: continue from it with --resume, "
            "or name another folder with --out",
            option="out",
            value=str(folder),
        )
    return start


def choose_recipe(options: argparse.Namespace, start: Checkpoint | None) -> Recipe:
    """Recipe of a run: the checkpoint's or the named one, with what the options change."""
    recipe = SETTINGS[options.recipe].recipe
    if start:
        kept = start.stretches[-1].recipe
        recipe = Recipe(**{**kept, "pixel_widths": tuple(kept["pixel_widths"])})
    names = {f.name for f in fields(Recipe)}
    given = {name: v for name, v in vars(options).items() if name in names and v is not None}
    return replace(recipe, **given)


def open_guides(options: argparse.Namespace, recipe: Recipe, resolution: int) -> Guides:
    """Read the frozen networks.

    Raises:
        InvalidOptionError: The recipe needs a trunk, and there is none.
        BrokenBundleError: The trunk cannot be read.
    """
    reader, perceptual = options.reader, None
    if recipe.reconstruct_from is not None:
        perceptual = _open_trunk(options.trunk, recipe.reconstruct_from)
    return Guides(
        regressor=load_regressor(options.critic, resolution),
        fine=ResidualRegressor.load(reader, resolution) if reader else None,
        perceptual=perceptual,
    )


def _open_trunk(trunk: Path | None, start: int) -> Perceptual:
    if trunk is None:
        raise InvalidOptionError(
            f"this recipe reconstructs real pictures from {start} on: "
            "name the perceptual trunk with --trunk",
            option="trunk",
            value="",
        )
    return load_perceptual(trunk, architecture="squeeze", name=trunk.stem, calibrated=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni train generator", description=__doc__)
    parser.add_argument("--data", default="none", help="folder of a set, or none to render")
    parser.add_argument("--limit", type=int, help="use the first so many pictures of the set")
    parser.add_argument("--critic", type=Path, required=True, help="regressor: critic.safetensors")
    parser.add_argument(
        "--reader", type=Path, help="regressor of a second critic: reader.safetensors"
    )
    parser.add_argument(
        "--trunk", type=Path, help="perceptual trunk, to reconstruct: trunk_features.safetensors"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and log")
    parser.add_argument("--pictures", type=int, default=400_000, help="when to stop")
    parser.add_argument("--seconds", type=float, default=math.inf, help="when to stop, wall time")
    parser.add_argument("--recipe", choices=list(SETTINGS), default="cpu")
    changes = parser.add_argument_group(
        "changes to the recipe", "by default as the recipe, or the checkpoint, has them"
    )
    changes.add_argument("--settle", type=int, help="pictures until rates are halved")
    changes.add_argument("--batch", type=int)
    changes.add_argument("--generator-rate", type=float)
    changes.add_argument("--critic-rate", type=float)
    changes.add_argument("--pixel-coefficient", type=float)
    changes.add_argument("--fine-coefficient", type=float)
    changes.add_argument("--penalty-coefficient", type=float)
    changes.add_argument("--mixing", type=float)
    changes.add_argument("--average", type=float, help="half-life of the average, pictures")
    changes.add_argument(
        "--reconstruct-from", type=int, help="pictures until it learns to reconstruct real ones"
    )
    changes.add_argument("--reconstruction-coefficient", type=float)
    changes.add_argument("--descents", type=int, help="towards real pictures, at once")
    changes.add_argument("--descent-steps", type=int)
    changes.add_argument("--seed", type=int)
    parser.add_argument(
        "--resume",
        nargs="?",
        const=LATEST,
        help="checkpoint to continue from; without a path the newest of --out, if any",
    )
    parser.add_argument("--checkpoint-s", type=float, default=300)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    """Train, or continue a training."""
    began = time.monotonic()
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    start = find_start(options.out, options.resume)
    recipe = choose_recipe(options, start)
    config = start.config if start else SETTINGS[options.recipe].config
    limit = options.limit or (start.limit if start else None)
    pictures = open_pictures(
        options.data, seed=recipe.seed, resolution=config.resolution, limit=limit
    )
    guides = open_guides(options, recipe, config.resolution)
    run = AdversarialRun(config, recipe, pictures, guides, device)
    session = Session(options.out, hardware(device), began=began)
    if start:
        run.resume(start)
        session.first, session.past = start.seen, start.stretches
    train(
        run,
        session,
        pictures=options.pictures,
        checkpoint_s=options.checkpoint_s,
        seconds=options.seconds,
    )
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

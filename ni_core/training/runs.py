"""Resumable runs: whatever is trained, its files, its log and its end are the same.

A run keeps no state of a random generator: every random number of a step comes from `random_of`,
so a run that was killed and called again with `--resume` goes on bit by bit as if nothing had
happened.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ni_core.bundles.tensor_file import write_tensors
from ni_core.errors import InvalidOptionError
from ni_core.images import encode_image
from ni_core.training.hardware import hardware
from ni_core.training.snapshots import list_snapshots, read_snapshot, write_snapshot

LOG_STEPS = 50
"""Steps between two lines of the log."""

SHEET_S = 120
"""Seconds between two contact sheets; there is one at the end."""

UNFINISHED = 3
"""Exit code of a training that stopped before its last picture."""


class Run(Protocol):
    """What a training is, between two steps.

    Attributes:
        kind: Of the part it makes.
        seen: Pictures seen so far.
        batch: Pictures of a step.
        recipe: Frozen dataclass of all that its result depends on.
    """

    kind: str
    seen: int
    batch: int

    @property
    def recipe(self) -> Any:
        """Frozen dataclass of JSON values; a resumed run must have the same."""
        ...

    def step(self) -> dict[str, Tensor]:
        """Make one step of the optimiser, add `batch` to `seen`, return losses by name."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything a resumed run needs besides `seen`, as `part.name`."""
        ...

    def resume(self, seen: int, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` gave when so many pictures had been seen."""
        ...

    def sheet(self) -> Tensor:
        """Pictures that show how far it is, `[3, h, w]` in [-1, 1]."""
        ...


def add_run_options(parser: argparse.ArgumentParser, *, pictures: int) -> None:
    """Add the options that every training has; `pictures` is the default of one of them."""
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and result")
    parser.add_argument("--pictures", type=int, default=pictures, help="when to stop")
    parser.add_argument("--seconds", type=float, default=math.inf, help="when to stop, wall time")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--checkpoint-s", type=float, default=120, help="seconds between two")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)


def train_run(run: Run, options: argparse.Namespace) -> bool:
    """Train until `--pictures` were seen or the time is up; log, save and show on the way.

    Args:
        run: Freshly made; it goes on from the newest checkpoint with `--resume`.
        options: Those of `add_run_options`.

    Returns:
        Whether it came to its end.

    Raises:
        InvalidOptionError: The folder holds checkpoints of this or of another run.
        CheckpointError: The checkpoint cannot be read.
    """
    sitting = _Sitting(run, options)
    sitting.begin()
    while run.seen < options.pictures and sitting.seconds < options.seconds:
        sitting.step()
    sitting.end()
    return bool(run.seen >= options.pictures)


def seconds_of(folder: Path) -> float:
    """Wall time all sittings of a run have taken, by its newest checkpoint."""
    document, _ = read_snapshot(list_snapshots(folder)[-1])
    return float(document["seconds"])


def random_of(seed: int, step: int, stream: int = 0) -> torch.Generator:
    """Random numbers of one step, on the CPU: the same whenever they are asked for.

    Args:
        seed: Of the run.
        step: Number of the step.
        stream: Tells apart what needs numbers of its own in one step.
    """
    digest = hashlib.sha256(f"{seed}/{step}/{stream}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter, as `index.name`."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser back what `optimiser_tensors` took, in its parameters' memory layout."""
    document = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    document["state"] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(value)
        document["state"].setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(document)


def part_of(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Tensors of one part, such as `average`, under their own names."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Name the tensors of several parts `part.name`: the reverse of `part_of`."""
    return {f"{part}.{name}": value for part in parts for name, value in parts[part].items()}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read what a training is to begin with.

    Raises:
        InvalidOptionError: It is no safetensors file that can be read.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidOptionError(
            f"{path} cannot be read: {error}", option="start", value=str(path)
        ) from error


def write_part(
    folder: Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    *,
    family: str,
    config: Any,
    generator: str | None,
    training: Mapping[str, Any],
) -> None:
    """Write a trained part as bundles keep it: `KIND.safetensors` and `KIND.json`.

    Args:
        folder: Where to; made if missing. What is there is replaced.
        kind: Name of the part.
        tensors: Every parameter and buffer; float32 is stored as float16.
        family: Name in the family's table.
        config: The family's configuration, a dataclass.
        generator: Fingerprint of the generator whose latents it knows; None for any.
        training: How it was trained, and what was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = {k: v.half() if v.dtype == torch.float32 else v for k, v in tensors.items()}
    partial = folder / f".{kind}.partial"
    partial.unlink(missing_ok=True)
    file = write_tensors(partial, stored)
    document = {
        "part": kind,
        "family": family,
        "config": asdict(config),
        "generator": generator,
        "sha256": file.sha256,
        "training": dict(training),
    }
    partial.rename(folder / f"{kind}.safetensors")
    (folder / f"{kind}.json").write_text(json.dumps(document, indent=2) + "\n")


class _Sitting:
    """One sitting of a run: its files and its clock."""

    def __init__(self, run: Run, options: argparse.Namespace) -> None:
        self._run = run
        self._folder: Path = options.out
        self._options = options
        self._recipe = json.loads(json.dumps(asdict(run.recipe)))
        self._past = 0.0
        self._began = self._saved = self._drawn = time.monotonic()
        self._first = run.seen
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    @property
    def seconds(self) -> float:
        """Wall time since it began."""
        return time.monotonic() - self._began

    def begin(self) -> None:
        """Go on from the newest checkpoint, or make sure that there is none."""
        self._folder.mkdir(parents=True, exist_ok=True)
        there = list_snapshots(self._folder)
        if not there:
            return
        document, tensors = read_snapshot(there[-1])
        if not self._options.resume:
            raise InvalidOptionError(
                f"{self._folder} already holds {there[-1].name}: continue from it with --resume, "
                "or name another folder with --out",
                option="out",
                value=str(self._folder),
            )
        changed = [k for k, v in document["recipe"].items() if self._recipe.get(k) != v]
        if changed or document["kind"] != self._run.kind:
            raise InvalidOptionError(
                f"{there[-1].name} of {self._folder} is of another run of {document['kind']}: "
                f"{', '.join(changed) or 'kind'} differs",
                option="resume",
                value=str(self._folder),
            )
        self._run.resume(document["seen"], tensors)
        self._past, self._first = document["seconds"], self._run.seen

    def step(self) -> None:
        """Make a step, and write what is due."""
        for name, loss in self._run.step().items():
            self._sums[name] = self._sums.get(name, torch.zeros(())) + loss.detach().cpu()
        self._steps += 1
        now = time.monotonic()
        if self._steps == LOG_STEPS:
            self._log()
        if now - self._saved > self._options.checkpoint_s:
            self._save()
            self._saved = now
        if now - self._drawn > SHEET_S:
            self._draw()
            self._drawn = now

    def end(self) -> None:
        """Write everything once more."""
        if self._steps:
            self._log()
        self._save()
        self._draw()

    def _save(self) -> None:
        document = {
            "kind": self._run.kind,
            "recipe": self._recipe,
            "seconds": round(self._past + self.seconds, 1),
            "hardware": hardware(torch.device(self._options.device)),
        }
        write_snapshot(self._folder, self._run.seen, document, self._run.tensors())

    def _log(self) -> None:
        speed = (self._run.seen - self._first) / self.seconds
        line: dict[str, float] = {"pictures": self._run.seen, "pictures_per_s": round(speed, 1)}
        line |= {k: round(v.item() / self._steps, 5) for k, v in self._sums.items()}
        with (self._folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        self._sums, self._steps = {}, 0

    def _draw(self) -> None:
        path = self._folder / f"sheet-{self._run.seen:08d}.png"
        path.write_bytes(encode_image(self._run.sheet().cpu()))

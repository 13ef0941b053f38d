"""`ni train all`: make every part of the embedded bundle, in order, skipping what is up to date.

It can be stopped at any moment, even killed, and called again. Each step has a log in `logs` and a
stamp in `stamps`; what they were made of decides whether a step is repeated. In the end the bundle
is in `portraits`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import torch

from ni_core.errors import InvalidOptionError
from ni_core.training.features import NETWORKS
from ni_core.training.hardware import hardware
from ni_core.training.sizes import SIZES
from ni_core.training.snapshots import list_snapshots, read_seen
from ni_core.training.stamps import (
    Basis,
    Stamp,
    hash_code,
    hash_files,
    matches,
    read_stamp,
    write_stamp,
)
from ni_core.training.steps import STEPS, Step

UNFINISHED = 3
"""Exit code when the time was up before the end."""


@dataclass
class Chain:
    """The steps with their braces filled.

    Attributes:
        out: Folder of everything.
        values: What stands for the braces.
        seconds: Wall time of this call; the step that is under way is finished, unless it is
            the generator, which stops with a checkpoint.
        report: Takes a line for the user.
        began: First moment on the monotonic clock.
    """

    out: Path
    values: dict[str, str]
    seconds: float = math.inf
    report: Callable[[str], None] = print
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until the time is up."""
        return self.seconds - (time.monotonic() - self.began)

    @property
    def steps(self) -> list[Step]:
        """Steps that apply."""
        return [s for s in STEPS if not (s.chunks and self.values["data"] == "none")]

    def run(self) -> bool:
        """Run what is not up to date; whether the end was reached."""
        for step in self.steps:
            reason = self.stale(step)
            if reason is None:
                self.report(f"{step.name}: up to date")
                continue
            if self.left <= 0:
                self.report(f"{step.name}: the time is up; call again to go on")
                return False
            self.report(f"{step.name}: {reason}")
            if not self._run(step):
                self.report(f"{step.name}: the time is up; call again to go on")
                return False
        return True

    def plan(self) -> Iterator[str]:
        """Lines that say what would be done and why."""
        waiting: list[Step] = []
        for step in self.steps:
            reason = self.stale(step)
            before = [earlier.name for earlier in waiting if _feeds(earlier, step)]
            if reason is None and before:
                reason = f"comes after {', '.join(before)}"
            waiting += [step] if reason else []
            yield f"{step.name}: {reason or 'up to date'}"

    def stale(self, step: Step) -> str | None:
        """Say why a step has to run; None if it is up to date."""
        stamp = read_stamp(self._stamp_path(step))
        if stamp is None:
            return "has not run yet"
        changed = self.basis(step).differs(stamp.basis)
        if changed:
            return changed
        if not stamp.finished:
            return "was interrupted"
        missing = [p for p in step.outputs if not matches(self.out, (p,))]
        if step.chunks and not self._chunks(step):
            missing = [self._fill(step.chunks)]
        if missing:
            return f"its output {missing[0]} is missing"
        return None if self._complete(step) else "has further to go"

    def basis(self, step: Step) -> Basis:
        """What the step would be made of now."""
        words = self._arguments(step)
        cut = [i for i, word in enumerate(words) if word in step.progress]
        moving = {i + offset for i in cut for offset in (0, 1)}
        return Basis(
            arguments=[word for i, word in enumerate(words) if i not in moving],
            progress=[word for i, word in enumerate(words) if i in moving],
            inputs=hash_files(self.out, step.inputs),
            code=hash_code(step.code),
        )

    def accept(self, name: str) -> None:
        """Stamp a step as up to date with what is there."""
        step = next((s for s in self.steps if s.name == name), None)
        if step is None:
            names = ", ".join(s.name for s in self.steps)
            raise InvalidOptionError(f"no step {name!r}; there are {names}", value=name)
        self._write_networks()
        self._stamp(step, finished=True, seconds=0.0)

    def _run(self, step: Step) -> bool:
        self._make_room(step)
        self._write_networks()
        for folder in ("logs", "figures"):
            (self.out / folder).mkdir(parents=True, exist_ok=True)
        self._stamp(step, finished=False, seconds=0.0)
        began = time.monotonic()
        with (self.out / "logs" / f"{step.name}.log").open("a") as log, redirect_stdout(log):
            import_module(step.module).main(self._arguments(step))
        if self._complete(step):
            self._stamp(step, finished=True, seconds=time.monotonic() - began)
            return True
        return False

    def _make_room(self, step: Step) -> None:
        """Set aside what an earlier run left that was made of something else."""
        stamp = read_stamp(self._stamp_path(step))
        if stamp is not None and self.basis(step).differs(stamp.basis) is None:
            return
        if step.keeps and (self.out / step.keeps).exists():
            (self.out / step.keeps).rename(_free_name(self.out / step.keeps))
        if stamp is not None and (chunks := self._chunks(step)):
            aside = _free_name(chunks[0].parent / step.name)
            aside.mkdir()
            for path in chunks:
                path.rename(aside / path.name)

    def _chunks(self, step: Step) -> list[Path]:
        """Files of the set that a step renders."""
        folder = Path(self.values["data"])
        return sorted(folder.glob(self._fill(step.chunks))) if step.chunks else []

    def _complete(self, step: Step) -> bool:
        """Whether a step that can be continued has come to its end."""
        if step.keeps is None:
            return True
        checkpoints = list_snapshots(self.out / step.keeps)
        return bool(checkpoints) and read_seen(checkpoints[-1]) >= int(self._fill(step.until))

    def _write_networks(self) -> None:
        """Collect how each network was trained, for the manifest."""
        document = {}
        for step in self.steps:
            stamp = read_stamp(self._stamp_path(step))
            if step.is_network and stamp and stamp.finished:
                arguments = self._arguments(step)
                kind = arguments[arguments.index("--kind") + 1]
                document[step.name] = {
                    "architecture": NETWORKS[kind].__name__,
                    **_numbers(arguments),
                    "minutes": round(stamp.seconds / 60, 1),
                    "hardware": stamp.hardware,
                }
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "networks.json").write_text(json.dumps(document, indent=2) + "\n")

    def _arguments(self, step: Step) -> list[str]:
        return self._fill(step.arguments).split()

    def _fill(self, text: str) -> str:
        return text.format(**self.values, out=self.out, seconds=f"{self.left:.0f}")

    def _stamp_path(self, step: Step) -> Path:
        return self.out / "stamps" / f"{step.name}.json"

    def _stamp(self, step: Step, *, finished: bool, seconds: float) -> None:
        machine = hardware(torch.device(self.values["device"]))
        write_stamp(
            Stamp(self.basis(step), finished, round(seconds, 1), machine), self._stamp_path(step)
        )


def _feeds(earlier: Step, step: Step) -> bool:
    """Whether a step reads what an earlier one writes."""
    return any(fnmatch(output, pattern) for output in earlier.outputs for pattern in step.inputs)


def _free_name(path: Path) -> Path:
    """Where something called `path` can be set aside."""
    numbers = len(list(path.parent.glob(f"{path.name}-before-*")))
    return path.with_name(f"{path.name}-before-{numbers + 1}")


def _numbers(arguments: list[str]) -> dict[str, float]:
    """Options of a command line that are numbers."""
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    kept = {name.strip("-"): value for name, value in pairs if value.replace(".", "", 1).isdigit()}
    return {name: json.loads(value) for name, value in kept.items() if name != "threads"}


def make_chain(options: argparse.Namespace) -> Chain:
    """The chain that the options of the command ask for."""
    values = {name: str(value) for name, value in SIZES[options.size].items()}
    values |= {"device": options.device, "threads": str(options.threads)}
    values["data"] = options.data or str(options.out / "data")
    if options.data == "none":
        values["limit"] = str(1 << 20)
    for name in ("pictures", "recipe"):
        if (given := getattr(options, name)) is not None:
            values[name] = str(given)
    return Chain(options.out, values, options.seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ni train all", description=__doc__)
    parser.add_argument("--bundle", choices=["portraits"], default="portraits")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything")
    parser.add_argument("--data", help="folder of the sets, or none to render on the fly")
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--recipe", help="of the generator; default: as the size says")
    parser.add_argument("--pictures", type=int, help="pictures that the generator is to see")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop then; call again")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and why")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="STEP", help="count it as up to date"
    )
    return parser


def main(arguments: list[str]) -> int:
    """Make the bundle, or say what would be made."""
    options = _parser().parse_args(arguments)
    chain = make_chain(options)
    for name in options.accept:
        chain.accept(name)
    if options.dry_run:
        print(*chain.plan(), sep="\n")
        return 0
    return 0 if chain.run() else UNFINISHED


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

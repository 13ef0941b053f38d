"""The command `ni`. Commands import what they need when they run, so that help is instant."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import NamedTuple, Protocol

from service.commands import (
    directions,
    edit,
    invert,
    key,
    models,
    openapi,
    serve,
    strip,
    up,
    worker,
)
from service.commands.loading import model_directory


class Command(Protocol):
    """A module that adds one command: its options, and `run` as its default."""

    def add_to(self, commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None: ...


COMMANDS: tuple[Command, ...] = (
    up, serve, worker, invert, edit, directions, strip, models, key, openapi,
)  # fmt: skip


class Delegate(NamedTuple):
    """A command whose own module reads the rest of the line: `main(arguments) -> exit code`."""

    module: str
    meaning: str
    arguments: tuple[str, ...] = ()


DELEGATED = {
    "train": {
        "all": Delegate("ni_core.training.everything", "make every part of the embedded model"),
        "portraits": Delegate("ni_core.training.picture_set", "render a set of portraits"),
        "generator": Delegate("ni_core.training.generator", "a generator of portraits"),
        "features": Delegate("ni_core.training.features", "readers of factors, perceptual trunk"),
        "contrastive": Delegate("ni_core.training.contrastive", "features without labels"),
        "e4e": Delegate("ni_core.training.encoders", "e4e", ("--kind", "e4e")),
        "psp": Delegate("ni_core.training.encoders", "pSp", ("--kind", "psp")),
        "restyle": Delegate("ni_core.training.encoders", "ReStyle", ("--kind", "restyle")),
        "mapper": Delegate("ni_core.training.mapper", "from frozen features to latents"),
        "landscape": Delegate("ni_core.training.landscape", "a space that is easy to descend in"),
        "export": Delegate("ni_core.training.export", "write a bundle from what training left"),
    },
    "evaluate": {
        "generator": Delegate(
            "ni_core.evaluation.generator_report", "score a generator against renders"
        ),
        "inversion": Delegate(
            "ni_core.evaluation.inversion_report", "score inversions of known pictures"
        ),
        "directions": Delegate(
            "ni_core.evaluation.directions_report", "find what directions change"
        ),
        "methods": Delegate("ni_core.evaluation.methods_report", "score every inversion method"),
        "curve": Delegate("ni_core.evaluation.loss_curve", "loss against steps, by start"),
    },
}
"""Commands by group and name."""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of everything but the delegated commands, which it only lists."""
    parser = argparse.ArgumentParser(
        prog="ni",
        description="Inversion and editing of pictures through pretrained GANs.",
        epilog="`ni COMMAND --help` shows the options of a command.",
    )
    parser.add_argument(
        "--version", action="version", version=f"ni {metadata.version('neural-inversion')}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    for group, members in DELEGATED.items():
        text = "; ".join(f"{name}: {member.meaning}" for name, member in members.items())
        sub = commands.add_parser(group, help=text, description=text)
        sub.add_argument("what", choices=list(members))
    return parser


def delegate(arguments: Sequence[str]) -> Callable[[], int] | None:
    """Return the call that runs a delegated command, or None if the line names none."""
    match list(arguments):
        case [str(group), str(name), *rest] if name in DELEGATED.get(group, {}):
            module, _, first = DELEGATED[group][name]
            return lambda: int(import_module(module).main([*first, *with_folder(rest)]))
    return None


def with_folder(arguments: Sequence[str]) -> list[str]:
    """Put the folder of a model in the model directory in the place of its name.

    The science knows no settings: for it, `--bundle` is a folder or an embedded bundle.
    """
    words = list(arguments)
    for index, word in enumerate(words[:-1]):
        if word == "--bundle":
            folder = model_directory() / words[index + 1]
            if (folder / "manifest.json").is_file():
                words[index + 1] = str(folder)
    return words


def run(arguments: Sequence[str]) -> int:
    """Run one command line; errors of the domain pass through."""
    if call := delegate(arguments):
        return call()
    parsed = build_parser().parse_args(arguments)
    return int(parsed.run(parsed))


def mistake(error: Exception) -> str | None:
    """Return what to tell the user about an error; None if it is ours, and needs its traceback."""
    from pydantic import ValidationError

    from ni_core.errors import NiError

    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"setting NI_{'_'.join(str(part) for part in first['loc']).upper()}: {first['msg']}"
    if isinstance(error, NiError | OSError):
        return " ".join(str(error).split())  # PyTorch's reasons have several lines
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line. Returns its exit code; 2 is a mistake that the message names."""
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        message = mistake(error)
        if message is None:
            raise
        print(f"ni: {message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""`ni up`: everything on one machine."""

import argparse
import os
import sys
from pathlib import Path

from service.commands import Commands
from service.private_redis import StartError
from service.supervisor import Supervisor, UpOptions
from worker.data_directory import default_data_directory


def add_to(commands: Commands) -> None:
    """Add `ni up`."""
    parser = commands.add_parser(
        "up",
        help="start a private Redis, workers and the service; Ctrl-C stops them all",
        description="Start a private Redis, workers and the service. Every setting can also be "
        "given as an NI_... variable; with NI_REDIS_URL set, no Redis is started.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port, 0 for any (%(default)s)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=default_data_directory(os.environ),
        help="folder of the private Redis' data and of imported models (%(default)s)",
    )
    parser.add_argument(
        "--workers", type=positive, default=1, help="processes that run inversions (%(default)s)"
    )
    parser.add_argument("--no-studio", action="store_true", help="serve no web page")
    parser.set_defaults(run=run)


def positive(text: str) -> int:
    """Read a number of at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def run(parsed: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    options = UpOptions(
        host=parsed.host,
        port=parsed.port,
        data_directory=parsed.data_dir,
        workers=parsed.workers,
        studio=not parsed.no_studio,
    )
    try:
        return Supervisor(options, os.environ).run()
    except StartError as error:
        print(f"ni up: {error}", file=sys.stderr)
        return 1

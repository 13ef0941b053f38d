"""`ni worker`: one worker, for machines that lend their processor or GPU to a service."""

import argparse
import os
import platform
import sys

from service.commands import Commands


def add_to(commands: Commands) -> None:
    """Add `ni worker`."""
    parser = commands.add_parser(
        "worker",
        help="start one worker",
        description="Start one worker. It finds Redis by NI_REDIS_URL, its device by NI_DEVICE.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="start nothing; exit with 0 if a worker of this machine gave a sign of life",
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Become the worker process, or look for one."""
    if parsed.check:
        return check()
    os.execv(sys.executable, [sys.executable, "-m", "worker"])


def check() -> int:
    """Look for a worker of this machine, for health checks."""
    from worker.connection import connect
    from worker.settings import Settings
    from worker.store import Store

    settings = Settings()
    store = Store(connect(settings.redis_url, timeout_s=settings.redis_timeout_s), settings)
    here = [worker for worker in store.workers() if worker.host == platform.node()]
    for worker in here:
        print(f"{worker.name} {worker.state}")
    if not here:
        print(f"no worker of {platform.node()} gave a sign of life", file=sys.stderr)
    return 0 if here else 1

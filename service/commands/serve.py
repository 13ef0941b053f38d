"""`ni serve`: the service alone, for machines where Redis and the workers run elsewhere."""

import argparse
import os
import socket
import sys
from typing import TYPE_CHECKING

from service.commands import Commands
from service.private_redis import StartError
from service.supervisor import bind, check_exposure

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGE_PATHS = ("/", "/studio")
DRAIN_S = 5
"""Seconds that open requests may take after a stop signal; an event stream would take forever."""


def add_to(commands: Commands) -> None:
    """Add `ni serve`."""
    parser = commands.add_parser(
        "serve",
        help="start the service alone",
        description="Start the service alone. It finds Redis by NI_REDIS_URL.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port, 0 for any (%(default)s)")
    parser.add_argument("--fd", type=int, help="listening socket to use instead, inherited")
    parser.add_argument("--no-studio", action="store_true", help="serve no web page")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    try:
        listener = inherited(parsed.fd) if parsed.fd is not None else exposed(parsed)
    except StartError as error:
        print(f"ni serve: {error}", file=sys.stderr)
        return 1
    import uvicorn

    from service.app import create_app
    from service.settings import ServiceSettings

    app = create_app(ServiceSettings())
    if parsed.no_studio:
        remove_studio(app)
    config = uvicorn.Config(
        app, log_level="info", access_log=False, timeout_graceful_shutdown=DRAIN_S
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def remove_studio(app: "FastAPI") -> None:
    """Take the page, and the redirect to it, out of an app that does not serve yet."""
    kept = [route for route in app.router.routes if getattr(route, "path", "") not in PAGE_PATHS]
    app.router.routes[:] = kept


def inherited(descriptor: int) -> socket.socket:
    """Return the socket a parent process listens on for us."""
    return socket.socket(fileno=descriptor)


def exposed(parsed: argparse.Namespace) -> socket.socket:
    """Take the port, unless that would open the service to everybody."""
    check_exposure(parsed.host, os.environ)
    return bind(parsed.host, parsed.port)

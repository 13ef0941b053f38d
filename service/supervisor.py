"""`ni up`: a private Redis, workers and the service as children of one process."""

import contextlib
import ipaddress
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from service.children import Child, describe_exit, stop_all
from service.private_redis import (
    StartError,
    answers_ping,
    find_redis_server,
    last_lines,
    locked,
    redis_command,
    socket_path,
)
from service.welcome import welcome
from worker.data_directory import models_in

POLL_S = 0.1
REDIS_START_S = 30.0
READY_S = 600.0
"""Seconds for the first answer: a busy machine with a cold disk takes minutes to load PyTorch."""
GRACE_S = 15.0
"""Seconds that a child may take to finish what it does after a stop signal."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

KEY_VARIABLES = ("NI_API_KEYS", "NI_API_KEYS_FILE")


@dataclass(frozen=True)
class UpOptions:
    """What the command line of `ni up` says."""

    host: str
    port: int
    data_directory: Path
    workers: int
    studio: bool


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def asks_for_keys(environment: Mapping[str, str]) -> bool:
    """Say whether the service will answer only those who show a key."""
    return any(environment.get(name, "").strip() for name in KEY_VARIABLES)


def check_exposure(host: str, environment: Mapping[str, str]) -> None:
    """Refuse to listen where others can reach the service unless it asks for keys."""
    if not is_loopback(host) and not asks_for_keys(environment):
        raise StartError(
            f"{host} can be reached by other machines, and no API keys are set. Make one with "
            "`ni key` and set NI_API_KEYS, or listen on 127.0.0.1."
        )


def bind(host: str, port: int) -> socket.socket:
    """Take the port before anything is started.

    The service inherits the listening socket, so nobody can take the port in between, and a
    service that is started again refuses no connection meanwhile.
    """
    if not 0 <= port <= 65535:
        raise StartError(f"there is no port {port}: choose one from 1 to 65535, or 0 for any")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise StartError(
            f"can't listen on {host} port {port}: {error}. "
            "Choose another port with --port, or end the program that uses this one."
        ) from error
    # Connections inherit it. Without, a small answer can wait 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class Supervisor:
    """Starts the stack, keeps it running, and stops it without leaving a process behind."""

    def __init__(self, options: UpOptions, environment: Mapping[str, str]) -> None:
        self.options = options
        self.environment = dict(environment)
        self.directory = options.data_directory.expanduser().absolute()
        self.redis: Child | None = None
        self.workers: list[Child] = []
        self.service: Child | None = None
        self.stopping = False
        self.interrupts = 0

    def run(self) -> int:
        """Serve until a signal comes.

        Raises:
            StartError: Something has to be changed first.
        """
        check_exposure(self.options.host, self.environment)
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(self.directory))
            listener = stack.enter_context(bind(self.options.host, self.options.port))
            stack.enter_context(self._signals())
            path = stack.enter_context(socket_path(self.directory))
            stack.callback(self._stop)
            self._start_redis(path)
            say("Starting: loads PyTorch and the model.")
            self._start_python(listener)
            address = address_of(listener)
            if self._await_ready(address):
                say(welcome(address, self.options.studio, asks_for_keys(self.environment)))
            while not self.stopping:
                self._keep_running([*self.workers, self.service, self.redis])
        return 0

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:
            self.stopping = True
            self.interrupts += number == signal.SIGINT

        previous = {number: signal.signal(number, note) for number in STOP_SIGNALS}
        yield
        for number, handler in previous.items():
            signal.signal(number, handler)

    def _start_redis(self, path: Path) -> None:
        if url := self.environment.get("NI_REDIS_URL"):
            parts = urlsplit(url)
            say(f"ni up: using the Redis at {parts.hostname or parts.path}")
            return
        log = self.directory / "redis.log"
        command = redis_command(find_redis_server(), path, self.directory, log)
        self.redis = Child("redis", command, self.environment)
        self.redis.start()
        deadline = time.monotonic() + REDIS_START_S
        while not self.stopping and not answers_ping(path):
            if self.redis.exit_code is not None or time.monotonic() > deadline:
                raise StartError("\n  ".join([f"Redis does not start. {log}:", *last_lines(log)]))
            time.sleep(POLL_S)
        self.environment["NI_REDIS_URL"] = f"unix://{path}"

    def _start_python(self, listener: socket.socket) -> None:
        environment = self._python_environment()
        fd = listener.fileno()
        serve = [sys.executable, "-m", "service.cli", "serve", "--fd", str(fd)]
        if not self.options.studio:
            serve.append("--no-studio")
        self.service = Child("service", serve, environment, inherited_descriptors=[fd])
        self.workers = [
            Child(f"worker {number + 1}", [sys.executable, "-m", "worker"], environment)
            for number in range(self.options.workers)
        ]
        for child in (self.service, *self.workers):
            if not self.stopping:
                child.start()

    def _python_environment(self) -> dict[str, str]:
        """Share the cores out: numeric threads that outnumber them cost more than they give."""
        share = max(1, (os.cpu_count() or 1) // (self.options.workers + 1))
        models = models_in(self.directory)
        models.mkdir(exist_ok=True)
        defaults = {"OMP_NUM_THREADS": str(share), "NI_MODEL_DIR": str(models)}
        return {"PYTHONUNBUFFERED": "1"} | defaults | self.environment

    def _await_ready(self, address: str) -> bool:
        """Wait for the service; False when a signal came first."""
        assert self.service is not None
        deadline = time.monotonic() + READY_S
        while not self.stopping:
            if is_ready(address):
                return True
            if self.service.exit_code is not None:
                raise StartError(f"the service {describe_exit(self.service.exit_code)}, see above")
            if time.monotonic() > deadline:
                raise StartError(f"{address}/health/ready was not ready within {READY_S:g} s")
            self._keep_running([*self.workers, self.redis])
        return False

    def _keep_running(self, children: list[Child | None]) -> None:
        for child in children:
            if child is not None and not self.stopping and (news := child.keep_running()):
                say(f"ni up: {news}")
        time.sleep(POLL_S)

    def _stop(self) -> None:
        """Stop service and workers first: they hand work back through Redis, which goes last."""
        before = self.interrupts

        def again() -> bool:
            return self.interrupts > before

        python = [child for child in (self.service, *self.workers) if child is not None]
        stop_all(python, GRACE_S, hurry=again)
        if self.redis is not None:
            stop_all([self.redis], GRACE_S, hurry=again)


def address_of(listener: socket.socket) -> str:
    """Return the address under which this machine reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_ready(address: str) -> bool:
    """Ask the service whether it can answer requests."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{address}/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def say(text: str) -> None:
    """Print at once; a terminal that is gone does not end the stack in disorder."""
    with contextlib.suppress(OSError):
        print(text, flush=True)

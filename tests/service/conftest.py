"""A real server on a real port, before a real Redis, with the tiny real bundle."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.settings import ServiceSettings
from tests.conftest import RedisServer, short_settings, wait_until

Serve = Callable[..., httpx.Client]
_APPS: dict[str, FastAPI] = {}


def app_of(client: httpx.Client) -> FastAPI:
    """The app behind a client."""
    return _APPS[str(client.base_url)]


@contextmanager
def serving(settings: ServiceSettings) -> Iterator[httpx.Client]:
    """Serve an app in a thread; yields a client whose paths start at its address."""
    # Naming TCP makes asyncio send each answer at once, without Nagle's wait.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        app = create_app(settings)
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started, "the server listens")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                _APPS[str(client.base_url)] = app
                yield client
        finally:
            server.should_exit = True
            thread.join()


def service_settings(redis_url: str, models: Path, **changes: Any) -> ServiceSettings:
    """Short settings of a service."""
    shared = short_settings(redis_url, models).model_dump()
    ours = {"default_model": "tiny", "watchdog": False, "max_json_bytes": 100_000}
    return ServiceSettings.model_validate({**shared, **ours, **changes})


@pytest.fixture(scope="session")
def served(session_redis: RedisServer, model_directory: Path) -> Iterator[httpx.Client]:
    """One service for all tests that need no settings of their own; it keeps no state."""
    with serving(service_settings(session_redis.url, model_directory)) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200, "the service is ready")
        yield client


@pytest.fixture
def client(served: httpx.Client, redis_server: RedisServer) -> httpx.Client:
    """The service, with nothing stored."""
    served.cookies.clear()
    return served


@pytest.fixture
def serve(redis_server: RedisServer, model_directory: Path) -> Iterator[Serve]:
    """Start a service with changed settings; it is stopped after the test."""
    opened: list[Any] = []

    def start(*, redis_url: str = redis_server.url, **changes: Any) -> httpx.Client:
        context = serving(service_settings(redis_url, model_directory, **changes))
        opened.append(context)
        return context.__enter__()

    yield start
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def latent_id(client: httpx.Client) -> str:
    """A sampled latent."""
    return str(client.post("/latents", json={"seed": 7, "psi": 0.7}).json()["id"])

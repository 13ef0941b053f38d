from __future__ import annotations

import httpx
import pytest

from service.security import digest_of
from tests.service.conftest import Serve
from tests.service.problem import expect_problem

KEYS = {"api_keys": (digest_of("first"), digest_of("second"))}


@pytest.fixture
def locked(serve: Serve) -> httpx.Client:
    """A service that asks for a key."""
    return serve(**KEYS)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer first"},
        {"authorization": "bearer  second"},
        {"X-API-Key": "second"},
    ],
)
def test_a_known_key_opens(locked: httpx.Client, headers: dict[str, str]) -> None:
    assert locked.get("/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer third"}, {"X-API-Key": "fir"}, {"Authorization": "Basic first"}],
)
@pytest.mark.parametrize("path", ["/jobs", "/metrics", "/models", "/nowhere"])
def test_nothing_opens_without_a_known_key(
    locked: httpx.Client, headers: dict[str, str], path: str
) -> None:
    answer = locked.get(path, headers=headers)
    expect_problem(answer, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_body_is_not_read_without_a_key(locked: httpx.Client) -> None:
    expect_problem(locked.post("/invert", content=b"x" * 1000), "unauthorized")


@pytest.mark.parametrize(
    "path", ["/health/live", "/docs", "/openapi.json", "/openapi.yaml", "/problems/gone"]
)
def test_probes_and_documents_stay_open(locked: httpx.Client, path: str) -> None:
    assert locked.get(path).status_code == 200

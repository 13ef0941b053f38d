"""A model is imported, used over HTTP and removed, while the service runs."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ni_core.bundles import write_tiny_bundle
from ni_core.images import decode_image
from service.cli import main
from service.welcome import SAMPLE
from tests.stack import Stack

WAIT = {"Prefer": "wait=60"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `ni` keeps what it is told nothing about."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def stack(home: Path) -> Iterator[Stack]:
    data = home / "neural-inversion"
    stack = Stack(data, "--port", "0", XDG_DATA_HOME=str(home), NI_DEVICE="cpu")
    try:
        yield stack.wait_ready()
    finally:
        stack.end()


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.address, timeout=120) as client:
        yield client


@pytest.fixture(autouse=True)
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of these tests run in this process, with no setting but the home."""
    for name in [name for name in os.environ if name.startswith("NI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(home))


def ni(*words: str) -> None:
    """Run `ni models`."""
    assert main(["models", *words]) == 0


def names(client: httpx.Client) -> list[str]:
    return [model["name"] for model in client.get("/models").json()["models"]]


def invert(client: httpx.Client, model: str) -> httpx.Response:
    fields = {"model": model, "steps": "2"}
    return client.post("/invert", headers=WAIT, files={"image": SAMPLE.read_bytes()}, data=fields)


def test_an_imported_model_serves_without_a_restart_and_a_removed_one_is_gone(
    client: httpx.Client, tmp_path: Path
) -> None:
    source = write_tiny_bundle(tmp_path, "source")
    assert "cats" not in names(client)
    ni("import", "--generator", str(source), "--name", "cats", "--licence", "MIT")
    assert "cats" in names(client)
    assert client.get("/models/cats").json()["licence"] == "MIT"

    job = invert(client, "cats").json()
    assert job["status"] == "succeeded", job
    latent = job["result"]["latents"][0]["id"]
    body = {"latent": latent, "weights": {"0": 2.0}, "layers": "0-2"}
    edited = client.post("/edit", json=body, headers={"Accept": "image/png"})
    assert decode_image(edited.content).shape == (3, 16, 16)

    ni("remove", "cats")
    assert "cats" not in names(client)
    for answer in (client.get("/models/cats"), invert(client, "cats")):
        assert answer.status_code == 404 and answer.json()["type"].endswith("/unknown-model")
    gone = client.post("/edit", json=body, headers={"Accept": "image/png"})
    assert gone.status_code == 404, "a latent of a model that is gone cannot be rendered"


def test_a_replaced_model_is_used_from_the_next_request_on(
    client: httpx.Client, tmp_path: Path
) -> None:
    for seed in (1, 2):
        write_tiny_bundle(tmp_path, f"source{seed}", seed)
    ni("import", "--generator", str(tmp_path / "source1"), "--name", "dogs")
    sample = {"model": "dogs", "seed": 5}
    first = client.post("/latents", json=sample).json()
    ni("import", "--generator", str(tmp_path / "source2"), "--name", "dogs", "--replace")
    answer = client.post("/edit", json={"latent": first["id"], "weights": {"0": 1.0}})
    assert answer.status_code == 409, "the latent is one of the old weights"
    second = client.post("/latents", json=sample).json()
    assert client.get(second["links"]["image"]).status_code == 200
    job = invert(client, "dogs").json()
    deadline = time.monotonic() + 60
    while job["status"] in ("queued", "running") and time.monotonic() < deadline:
        job = client.get(f"/jobs/{job['id']}").json()
    assert job["status"] == "succeeded", "the worker, too, has the new weights"

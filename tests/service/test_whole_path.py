"""A photo in, an edited photo out: real HTTP, real Redis, a real worker process."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from redis import Redis

from tests.conftest import RedisServer, WorkerProcess, short_settings, wait_until
from tests.service import pictures
from tests.service.problem import expect_problem
from worker.connection import connect
from worker.store import Store


@pytest.fixture(scope="module")
def installation(
    served: httpx.Client,
    session_redis: RedisServer,
    model_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """Service, Redis and one worker; all tests of this file share what is stored."""
    settings = short_settings(session_redis.url, model_directory)
    redis: Redis = connect(session_redis.url)
    redis.flushall()
    worker = WorkerProcess(settings, tmp_path_factory.mktemp("worker"), 0)
    worker.wait_ready(Store(redis, settings))
    yield served
    worker.end()
    redis.close()


def invert(client: httpx.Client, *files: bytes, wait_s: int = 30, **fields: str) -> httpx.Response:
    return client.post(
        "/invert",
        files=[("image", ("photo.png", file)) for file in files],
        data=fields,
        headers={"Prefer": f"wait={wait_s}"} if wait_s else {},
        timeout=60,
    )


def test_a_photo_becomes_a_latent_and_an_edit_changes_its_picture(
    installation: httpx.Client,
) -> None:
    client = installation
    answer = invert(client, pictures.photo(), steps="8")
    job = answer.json()
    assert answer.status_code == 200, job
    assert answer.headers["preference-applied"] == "wait=30"
    assert (job["status"], job["progress"]["step"]) == ("succeeded", 8)
    (latent,) = job["result"]["latents"]
    assert (latent["space"], latent["shape"], latent["method"]) == ("w+", [6, 32], "optimize")
    assert {"mse", "psnr", "ssim", "lpips", "trunk"} <= set(latent["metrics"])
    assert job["result"]["what_was_done"]["steps"] == 8
    assert len(job["result"]["history"]) == 1

    plain = client.get(latent["links"]["image"]).content
    directions = client.get("/directions?layers=0-2&k=2&model=tiny").json()["directions"]
    weight = directions[0]["range"][1]
    body = {"latent": latent["id"], "weights": {directions[0]["id"]: weight}}
    edited = client.post("/edit", json=body)
    assert edited.status_code == 200
    assert (pictures.pixels_of(edited.content) != pictures.pixels_of(plain)).any()
    body["weights"] = {directions[0]["id"]: 0}
    assert client.post("/edit", json=body).content == plain


def test_the_worker_is_counted(installation: httpx.Client) -> None:
    ready = installation.get("/health/ready").json()
    assert (ready["workers"], ready["degraded"]) == (1, [])
    assert "ni_workers 1.0" in installation.get("/metrics").text


def test_the_same_photo_and_options_again_are_answered_at_once(installation: httpx.Client) -> None:
    first = invert(installation, pictures.photo(), steps="8").json()
    answer = invert(installation, pictures.photo(), wait_s=0, steps="8")
    assert (answer.status_code, answer.json()) == (200, first)


def test_a_batch_gives_each_picture_its_own_latent(installation: httpx.Client) -> None:
    job = invert(installation, pictures.photo(1), pictures.photo(2), steps="3").json()
    latents = job["result"]["latents"]
    assert len({latent["id"] for latent in latents}) == 2
    assert [latent["source"] for latent in latents] == job["request"]["images"]


def test_events_tell_of_progress_and_end(installation: httpx.Client) -> None:
    job = invert(installation, pictures.photo(4), wait_s=0, steps="40").json()
    names, ids = [], []
    with installation.stream("GET", job["links"]["events"]) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
            if line.startswith("id: "):
                ids.append(line)
            if line.startswith("data: ") and names[-1] == "preview":
                picture = json.loads(line.removeprefix("data: "))
                assert picture["images"] and picture["media_type"].startswith("image/")
    assert names[-1] == "terminal" and "progress" in names
    assert len(set(ids)) == len(ids)


def test_a_running_job_is_canceled_within_one_step(installation: httpx.Client) -> None:
    client = installation
    job = invert(client, pictures.photo(5), wait_s=0, steps="5000").json()
    path = job["links"]["self"]
    wait_until(lambda: client.get(path).json()["progress"]["step"] > 0, "the job runs")
    assert client.delete(path).status_code == 202
    started_s = time.monotonic()
    wait_until(lambda: client.get(path).json()["status"] == "canceled", "the job is canceled")
    assert time.monotonic() - started_s < 5


def test_edits_do_not_wait_behind_an_inversion(installation: httpx.Client) -> None:
    client = installation
    job = invert(client, pictures.photo(6), wait_s=0, steps="5000").json()
    latent = client.post("/latents", json={"seed": 1}).json()["id"]
    assert client.post("/edit", json={"latent": latent, "weights": {"0": 1}}).status_code == 200
    assert client.get(job["links"]["self"]).json()["status"] in ("queued", "running")
    client.delete(job["links"]["self"])


def test_a_deleted_latent_of_a_job_is_gone_and_its_work_is_done_again(
    installation: httpx.Client,
) -> None:
    first = invert(installation, pictures.photo(7), steps="2").json()
    (latent,) = first["result"]["latents"]
    assert installation.delete(latent["links"]["self"]).status_code == 204
    expect_problem(installation.get(latent["links"]["image"]), "gone")
    second = invert(installation, pictures.photo(7), steps="2").json()
    assert second["id"] != first["id"] and second["status"] == "succeeded"


def test_an_odd_picture_goes_all_the_way(installation: httpx.Client) -> None:
    job = invert(installation, pictures.cmyk(), steps="2").json()
    (latent,) = job["result"]["latents"]
    webp = installation.get(latent["links"]["image"], headers={"Accept": "image/webp"})
    with Image.open(io.BytesIO(webp.content)) as picture:
        assert picture.size == (16, 16)

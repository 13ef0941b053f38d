"""Every learnt method over real HTTP, with a real worker; and models that lack a part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis

from ni_core.bundles import write_tiny_bundle
from tests.bundles import Z_ONLY, write_bundle
from tests.conftest import RedisServer, WorkerProcess, short_settings, wait_until
from tests.parts import KINDS, equip
from tests.service import pictures
from tests.service.conftest import service_settings, serving
from tests.service.problem import expect_problem
from worker.connection import connect
from worker.store import Store

PASSES = {"e4e": 1, "restyle": 3, "psp": 1, "mapper": 1, "landscape": 20, "encoder": 1}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` with every part, `bare` with none, `plain` without W."""
    directory = tmp_path_factory.mktemp("models")
    equip(write_tiny_bundle(directory), tmp_path_factory.mktemp("parts"))
    write_tiny_bundle(directory, "bare", seed=1)
    write_bundle(directory, "plain", "pggan", Z_ONLY)
    return directory


@pytest.fixture(scope="module")
def client(
    session_redis: RedisServer, directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A service and one worker."""
    settings = short_settings(session_redis.url, directory)
    redis: Redis = connect(session_redis.url)
    redis.flushall()
    worker = WorkerProcess(settings, tmp_path_factory.mktemp("worker"), 0)
    with serving(service_settings(session_redis.url, directory)) as client:
        worker.wait_ready(Store(redis, settings))
        wait_until(lambda: client.get("/health/ready").status_code == 200, "the service is ready")
        yield client
    worker.end()
    redis.close()


def invert(client: httpx.Client, **fields: str) -> httpx.Response:
    files = [("image", ("photo.png", pictures.photo()))]
    return client.post("/invert", files=files, data=fields, headers={"Prefer": "wait=30"})


@pytest.mark.parametrize("method", PASSES)
def test_each_method_gives_a_latent_that_can_be_edited(client: httpx.Client, method: str) -> None:
    job = invert(client, method=method).json()
    assert job["status"] == "succeeded", job
    (latent,) = job["result"]["latents"]
    assert (latent["method"], latent["space"], latent["shape"]) == (method, "w+", [6, 32])
    assert job["result"]["what_was_done"]["steps"] == PASSES[method]
    assert len(job["result"]["history"][0]) == PASSES[method]
    assert set(latent["metrics"]) >= {"mse", "psnr", "ssim", "lpips", "trunk"}
    edited = client.post("/edit", json={"latent": latent["id"], "weights": {"0": 1.0}})
    assert edited.headers["content-type"] == "image/png"


@pytest.mark.parametrize("start", KINDS)
def test_a_descent_goes_on_from_what_a_part_finds(client: httpx.Client, start: str) -> None:
    job = invert(client, start=start, steps="4", starts="1").json()
    assert job["status"] == "succeeded", job
    assert job["result"]["what_was_done"]["options"]["start"] == start


def test_passes_and_steps_are_an_option(client: httpx.Client) -> None:
    for method, steps in (("restyle", 5), ("landscape", 3)):
        job = invert(client, method=method, steps=str(steps)).json()
        assert job["result"]["what_was_done"]["steps"] == steps
    expect_problem(invert(client, method="landscape", steps="0"), "invalid-option", "steps is")


@pytest.mark.parametrize("method", [method for method, passes in PASSES.items() if passes == 1])
def test_a_second_pass_of_an_encoder_that_has_one_is_refused_at_once(
    client: httpx.Client, method: str
) -> None:
    answer = invert(client, method=method, steps="2")
    problem = expect_problem(answer, "invalid-option", "steps is 2, but must be 1", method, "tiny")
    assert (problem["value"], problem["limit"]) == (2, 1)
    assert invert(client, method=method, steps="1").json()["status"] == "succeeded"


@pytest.mark.parametrize("method", PASSES)
def test_who_wants_no_metrics_gets_the_same_latent_without(
    client: httpx.Client, method: str
) -> None:
    plain, brief = (
        invert(client, method=method, **fields).json() for fields in ({}, {"metrics": "none"})
    )
    assert brief["status"] == "succeeded" and brief["id"] != plain["id"]
    assert brief["request"]["options"]["metrics"] == "none"
    (measured,), (latent,) = (job["result"]["latents"] for job in (plain, brief))
    assert measured["metrics"] is not None and latent["metrics"] is None
    values = [client.get(f"/latents/{one['id']}").json()["values"] for one in (measured, latent)]
    assert values[0] == values[1]
    assert brief["progress"]["step"] == PASSES[method]


@pytest.mark.parametrize("method", KINDS)
def test_a_missing_part_is_named_with_the_command_that_makes_it(
    client: httpx.Client, method: str
) -> None:
    expect_problem(
        invert(client, method=method, model="bare"),
        "unknown-method",
        f"it needs the part {method}",
        f"`ni train {method} --bundle bare --out FOLDER`",
        "`ni models attach bare FOLDER`",
    )


def test_a_missing_part_as_a_start_fails_with_the_same_words(client: httpx.Client) -> None:
    job = invert(client, start="e4e", model="bare", steps="2").json()
    assert job["status"] == "failed"
    assert "`ni train e4e --bundle bare --out FOLDER`" in job["error"]["detail"]


def test_the_models_say_which_methods_they_have(client: httpx.Client) -> None:
    methods = {m["name"]: set(m["methods"]) for m in client.get("/models").json()["models"]}
    assert methods["tiny"] == {"optimize", *PASSES}
    assert methods["bare"] == methods["plain"] == {"optimize"}

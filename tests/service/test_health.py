from __future__ import annotations

import re
import time
from pathlib import Path

import httpx

from tests.conftest import RedisServer, wait_until
from tests.service import pictures
from tests.service.conftest import Serve, app_of
from tests.service.problem import expect_problem


def test_a_service_without_a_worker_is_ready_and_says_what_is_missing(client: httpx.Client) -> None:
    answer = client.get("/health/ready")
    ready = answer.json()
    assert (answer.status_code, ready["status"], ready["reasons"]) == (200, "ready", [])
    assert ready["workers"] == 0 and "no worker" in ready["degraded"][0]
    assert "tiny" in ready["models"]


def test_a_service_without_its_model_is_alive_but_not_ready(serve: Serve) -> None:
    client = serve(default_model="nobody")
    assert client.get("/health/live").json() == {"status": "live"}

    def named() -> bool:
        answer = client.get("/health/ready")
        assert answer.status_code == 503
        return "nobody" in str(answer.json()["reasons"])

    wait_until(named, "the missing model is named")
    assert client.get("/health/ready").json()["status"] == "unavailable"


def test_a_draining_service_is_not_ready_and_ends_its_event_streams(serve: Serve) -> None:
    client = serve()
    job = client.post("/invert", files={"image": pictures.photo()}).json()
    with client.stream("GET", job["links"]["events"]) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry:")
        app_of(client).state.services.readiness.drain()
        assert list(lines) == [""]
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")


def test_the_service_answers_503_while_redis_is_away_and_recovers_by_itself(
    serve: Serve, own_redis_server: RedisServer, model_directory: Path
) -> None:
    client = serve(redis_url=own_redis_server.url)
    wait_until(lambda: client.get("/health/ready").status_code == 200, "the service is ready")
    latent = client.post("/latents", json={"seed": 1}).json()
    picture = client.get(latent["links"]["image"]).content
    own_redis_server.stop()
    started_s = time.monotonic()
    for answer in (
        client.get("/jobs"),
        client.post("/edit", json={"latent": latent["id"]}),
        client.post("/invert", files={"image": pictures.photo()}),
        client.post("/latents", json={"seed": 2}),
    ):
        expect_problem(answer, "store-unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert str(own_redis_server.folder) not in answer.text
    assert time.monotonic() - started_s < 8
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["the store does not answer"])
    assert client.get("/health/live").status_code == 200
    assert client.get("/directions").status_code == 200  # needs no store
    assert "ni_store_up 0.0" in client.get("/metrics").text
    own_redis_server.start()
    wait_until(lambda: client.get("/health/ready").status_code == 200, "the service recovers")
    assert client.get(latent["links"]["image"]).content == picture


def test_figures_count_requests_renders_and_jobs(client: httpx.Client, latent_id: str) -> None:
    client.post("/edit", json={"latent": latent_id, "weights": {"0": 1}})
    client.get("/nowhere/at/all")
    client.request("PROPFIND", "/edit")
    client.post("/invert", files={"image": pictures.photo()})
    text = client.get("/metrics").text
    assert re.search(r'ni_edits_rendered_total\{model="tiny"\} [1-9]', text)
    assert re.search(
        r'ni_http_request_duration_seconds_count\{method="POST",route="/edit",status="200"\} [1-9]',
        text,
    )
    assert 'route="unmatched"' in text and 'method="other"' in text
    assert "ni_queue_length 1.0" in text and "ni_store_up 1.0" in text
    assert re.search(r"ni_models_loaded [1-9]", text)
    assert re.search(r"ni_model_cache_bytes [1-9]", text)
    assert latent_id not in text and "BREW" not in text


def test_every_answer_has_a_request_id(client: httpx.Client) -> None:
    own = client.get("/health/live").headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", own)
    given = client.get("/health/live", headers={"X-Request-Id": "my-1"}).headers["x-request-id"]
    assert given == "my-1"
    forged = client.get("/health/live", headers={"X-Request-Id": "a b<script>"}).headers
    assert re.fullmatch("[0-9a-f]{32}", forged["x-request-id"])

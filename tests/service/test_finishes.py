"""Waiting for jobs by what Redis publishes, with a real Redis and a lease as a worker holds it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from ni_core.bundles import Bundle
from service.finishes import RETRY_S, Finishes
from tests.conftest import RedisServer, short_settings, wait_until
from tests.service import pictures
from tests.worker.material import claim, request
from worker.connection import connect
from worker.contracts import Failure
from worker.store import Store

FAILURE = Failure(code="time-limit", message="too long")
PATIENT_S = 20.0


@asynccontextmanager
async def listening(store: Store) -> AsyncIterator[Finishes]:
    """The listener of one process, once Redis knows of it."""
    finishes = Finishes(store.settings.redis_url, store.key("finished"))
    finishes.start()
    try:
        await subscribed(store)
        yield finishes
    finally:
        await finishes.close()


async def subscribed(store: Store, count: int = 1) -> None:
    channel = store.key("finished")
    await until(lambda: dict(store.redis.pubsub_numsub(channel))[channel.encode()] == count)


async def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENT_S
    while not ready():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def running(store: Store, bundle: Bundle, seed: int = 0) -> str:
    return store.create_job(request(store, bundle, seed=seed)).id


def test_all_who_wait_for_a_job_get_its_record_when_it_ends(
    store: Store, tiny_bundle: Bundle
) -> None:
    async def scenario() -> None:
        async with listening(store) as finishes:
            job_id, other = (running(store, tiny_bundle, seed) for seed in range(2))
            waiting = [asyncio.create_task(finishes.wait(job_id, PATIENT_S)) for _ in range(2)]
            patient = asyncio.create_task(finishes.wait(other, 0.5))
            await asyncio.sleep(0.05)
            claim(store, job_id).fail(FAILURE, 0.1)
            assert await asyncio.gather(*waiting) == [store.read_job(job_id)] * 2
            assert await patient is None

    asyncio.run(scenario())


async def hears_a_cancel(finishes: Finishes, store: Store, job_id: str) -> None:
    waiting = asyncio.create_task(finishes.wait(job_id, PATIENT_S))
    await asyncio.sleep(0.05)
    store.request_cancel(job_id)
    record = await waiting
    assert record is not None and record.status == "canceled"


def test_a_cancel_is_an_end_as_well(store: Store, tiny_bundle: Bundle) -> None:
    async def scenario() -> None:
        async with listening(store) as finishes:
            await hears_a_cancel(finishes, store, running(store, tiny_bundle))

    asyncio.run(scenario())


def test_who_comes_a_moment_too_late_does_not_wait(store: Store, tiny_bundle: Bundle) -> None:
    async def scenario() -> None:
        async with listening(store) as finishes:
            early, late = (running(store, tiny_bundle, seed) for seed in range(2))
            waiting = asyncio.create_task(finishes.wait(late, PATIENT_S))
            await asyncio.sleep(0.05)
            for job_id in (early, late):
                store.request_cancel(job_id)
            await waiting
            began = time.monotonic()
            assert await finishes.wait(early, PATIENT_S) is None
            assert time.monotonic() - began < PATIENT_S / 4

    asyncio.run(scenario())


def test_it_listens_again_after_a_restart_of_redis(
    own_redis_server: RedisServer, model_directory: Path, tiny_bundle: Bundle
) -> None:
    redis = connect(own_redis_server.url)
    store = Store(redis, short_settings(own_redis_server.url, model_directory))

    async def scenario() -> None:
        async with listening(store) as finishes:
            job_id = running(store, tiny_bundle)
            own_redis_server.stop()
            own_redis_server.start()
            await asyncio.sleep(RETRY_S)
            await subscribed(store)
            await hears_a_cancel(finishes, store, job_id)

    asyncio.run(scenario())
    redis.close()


def test_a_waiting_request_is_answered_when_the_job_ends(
    client: httpx.Client, store: Store
) -> None:
    def send() -> httpx.Response:
        files = {"image": ("photo.png", pictures.photo(77))}
        return client.post("/invert", files=files, headers={"Prefer": "wait=20"})

    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(send)
        wait_until(lambda: store.counts().queued == 1, "the job is queued")
        lease = claim(store, store.list_jobs(1)[0].id)
        lease.fail(FAILURE, 0.1)
        job = answer.result()
    assert (job.status_code, job.json()["status"]) == (200, "failed")
    assert job.json()["id"] == lease.job_id

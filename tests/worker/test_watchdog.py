import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from ni_core.bundles import Bundle
from tests.conftest import RedisServer, wait_until
from tests.worker.material import claim, request
from worker.connection import connect
from worker.queue import JobQueue, attempt_id
from worker.settings import Settings
from worker.store import Store
from worker.watchdog import Watchdog


@pytest.fixture
def settings(redis_url: str, redis: Redis) -> Settings:
    """Settings that take a worker for dead after a second, with a Redis older than that."""
    wait_until(lambda: redis.info("server")["uptime_in_seconds"] >= 1, "Redis is a second old")
    return Settings(
        redis_url=redis_url, heartbeat_timeout_s=1.0, watchdog_interval_s=0.1, max_attempts=2
    )


def running(queue: JobQueue, bundle: Bundle) -> str:
    """Queue a job and take it, as a worker would."""
    record = queue.enqueue(request(queue.store, bundle))
    queue.rq.pop_job_id()
    claim(queue.store, record.id)
    return record.id


def pass_an_hour(store: Store, job_id: str) -> None:
    """Make the last sign of a job's life an hour older."""
    key = store.key("job", job_id)
    for field in ("heartbeat", "missing_since"):
        value = store.redis.hget(key, field)
        if value is not None:
            store.redis.hset(key, field, repr(float(value) - 3600))
    if store.redis.zscore(store.key("running"), job_id) is not None:
        store.redis.zincrby(store.key("running"), -3600, job_id)


def test_a_silent_worker_loses_its_job(queue: JobQueue, tiny_bundle: Bundle) -> None:
    job_id = running(queue, tiny_bundle)
    watchdog = Watchdog(queue)
    assert watchdog.sweep() == {}
    pass_an_hour(queue.store, job_id)
    assert watchdog.sweep() == {job_id: "queued"}
    assert queue.store.read_job(job_id).status == "queued"
    assert queue.rq.get_job_ids() == [attempt_id(job_id, 2)]
    assert watchdog.sweep() == {}


def test_a_worker_that_reports_keeps_its_job(queue: JobQueue, tiny_bundle: Bundle) -> None:
    record = queue.enqueue(request(queue.store, tiny_bundle))
    lease = claim(queue.store, record.id)
    for _ in range(3):
        pass_an_hour(queue.store, record.id)
        lease.report()
        assert Watchdog(queue).sweep() == {}


def test_many_watchdogs_rescue_a_job_once(queue: JobQueue, tiny_bundle: Bundle) -> None:
    job_id = running(queue, tiny_bundle)
    pass_an_hour(queue.store, job_id)
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(lambda _: Watchdog(queue).sweep(), range(8)))
    assert sorted(len(rescued) for rescued in done) == [0] * 7 + [1]
    assert queue.rq.get_job_ids() == [attempt_id(job_id, 2)]


def test_a_job_that_lost_enough_workers_fails_as_worker_lost(
    queue: JobQueue, tiny_bundle: Bundle
) -> None:
    job_id = running(queue, tiny_bundle)
    for outcome in ("queued", "failed"):
        pass_an_hour(queue.store, job_id)
        assert Watchdog(queue).sweep() == {job_id: outcome}
        if outcome == "queued":
            claim(queue.store, job_id)
    record = queue.store.read_job(job_id)
    assert record.status == "failed"
    assert record.error is not None and record.error.code == "worker-lost"
    assert [event.name for event in queue.store.events(job_id)] == ["terminal"]


def test_a_job_that_the_queue_lost_is_handed_over_again(
    queue: JobQueue, tiny_bundle: Bundle
) -> None:
    record = queue.enqueue(request(queue.store, tiny_bundle))
    queue.rq.pop_job_id()
    watchdog = Watchdog(queue)
    assert watchdog.sweep() == {}, "it may just be on its way to a worker"
    pass_an_hour(queue.store, record.id)
    assert watchdog.sweep() == {record.id: "pushed"}
    assert queue.rq.get_job_ids() == [attempt_id(record.id, 1)]


def test_a_job_whose_worker_died_between_queue_and_claim_is_handed_over_again(
    redis: Redis, queue: JobQueue, tiny_bundle: Bundle
) -> None:
    record = queue.enqueue(request(queue.store, tiny_bundle))
    redis.lmove(queue.rq.key, queue.rq.intermediate_queue_key)
    watchdog = Watchdog(queue)
    watchdog.sweep()
    pass_an_hour(queue.store, record.id)
    assert watchdog.sweep() == {record.id: "pushed"}
    assert redis.lrange(queue.rq.intermediate_queue_key, 0, -1) == []


def test_a_redis_that_just_came_back_does_not_cost_workers_their_jobs(
    own_redis_server: RedisServer, tiny_bundle: Bundle
) -> None:
    redis = connect(own_redis_server.url)
    settings = Settings(redis_url=own_redis_server.url, heartbeat_timeout_s=2.0)
    queue = JobQueue(Store(redis, settings))
    job_id = running(queue, tiny_bundle)
    time.sleep(1.0)
    own_redis_server.stop()
    time.sleep(1.2)
    own_redis_server.start()
    assert Watchdog(queue).sweep() == {}
    wait_until(lambda: Watchdog(queue).sweep() == {job_id: "queued"}, "it is rescued later", 10.0)
    redis.close()


def test_the_thread_sweeps_until_it_is_stopped(queue: JobQueue, tiny_bundle: Bundle) -> None:
    watchdog = Watchdog(queue)
    watchdog.start()
    job_id = running(queue, tiny_bundle)
    pass_an_hour(queue.store, job_id)
    wait_until(lambda: queue.store.read_job(job_id).status == "queued", "a rescue", 10.0)
    watchdog.stop()

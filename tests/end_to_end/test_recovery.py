"""Workers are killed, sent away and cut off from Redis in the middle of real inversions."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ni_core.bundles import Bundle
from tests.conftest import START_TIMEOUT_S, RedisServer, WorkerProcess, short_settings, wait_until
from tests.worker.material import request
from worker.connection import connect
from worker.contracts import JobRecord
from worker.queue import JobQueue
from worker.settings import Settings
from worker.store import Store

LONG = {"steps": 150, "patience": 0}
"""Options of a job that takes seconds, on any machine."""


class Fleet:
    """Workers on one Redis, shared by the tests of this module; replaced when they are lost."""

    def __init__(self, settings: Settings, queue: JobQueue, folder: Path) -> None:
        self.queue = queue
        self.store = queue.store
        self._settings = settings
        self._folder = folder
        self._all: list[WorkerProcess] = []

    def alive(self) -> list[WorkerProcess]:
        """The workers that run."""
        return [worker for worker in self._all if worker.process.poll() is None]

    def ensure(self, count: int) -> None:
        """Have exactly so many workers, all ready, and no job left from another test."""
        for record in self.store.list_jobs():
            self.queue.cancel(record.id)
        for worker in self.alive()[count:]:
            worker.terminate()
        for _ in range(count - len(self.alive())):
            self.start()
        for worker in self.alive():
            worker.wait_ready(self.store)

    def start(self) -> WorkerProcess:
        """Start one more."""
        worker = WorkerProcess(self._settings, self._folder, len(self._all))
        self._all.append(worker)
        return worker

    def running(self, job_id: str) -> WorkerProcess:
        """The worker that has the job."""
        pid = next(w.pid for w in self.store.workers() if w.job == job_id)
        return next(worker for worker in self.alive() if worker.process.pid == pid)

    def end(self) -> None:
        """End all of them."""
        for worker in self._all:
            worker.end()

    def wait_for(self, job_id: str, what: str, ready: Callable[[JobRecord], bool]) -> JobRecord:
        """Return the record once it is as wanted."""
        wait_until(lambda: ready(self.store.read_job(job_id)), what, START_TIMEOUT_S)
        return self.store.read_job(job_id)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def fleet(
    server: RedisServer, model_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    settings = short_settings(server.url, model_directory)
    redis = connect(server.url)
    fleet = Fleet(settings, JobQueue(Store(redis, settings)), tmp_path_factory.mktemp("fleet"))
    try:
        yield fleet
    finally:
        fleet.end()
        redis.close()


def test_a_job_whose_worker_is_killed_is_finished_by_another_from_its_last_checkpoint(
    fleet: Fleet, tiny_bundle: Bundle
) -> None:
    fleet.ensure(2)
    job_id = fleet.queue.enqueue(request(fleet.store, tiny_bundle, seed=1, **LONG)).id
    checkpoint = fleet.store.key("job", job_id, "checkpoint")
    wait_until(lambda: bool(fleet.store.redis.exists(checkpoint)), "a checkpoint is saved")
    fleet.running(job_id).kill()
    killed_at = time.monotonic()
    at_kill = fleet.store.read_job(job_id)
    assert at_kill.status == "running"

    taken = fleet.wait_for(job_id, "another worker takes it", lambda record: record.attempts == 2)
    noticed_s = time.monotonic() - killed_at
    settings = fleet.store.settings
    assert noticed_s < settings.heartbeat_timeout_s + 2 * settings.watchdog_interval_s + 10
    assert taken.progress.step > 0, "progress does not fall back to nothing"

    record = fleet.wait_for(job_id, "the job ends", lambda record: record.finished)
    assert record.status == "succeeded", record.error
    assert record.attempts == 2
    assert record.result is not None
    assert 0 < record.result.what_was_done.resumed_from_step <= at_kill.progress.step
    assert record.result.what_was_done.steps == LONG["steps"]
    fleet.store.get_latent(record.result.latents[0].id)
    events = fleet.store.events(job_id, count=1000)
    assert [event.name for event in events].count("terminal") == 1
    assert len(fleet.queue.rq.started_job_registry) == 0


def test_a_worker_that_is_asked_to_end_hands_its_job_back_at_once(
    fleet: Fleet, tiny_bundle: Bundle
) -> None:
    fleet.ensure(1)
    job_id = fleet.queue.enqueue(request(fleet.store, tiny_bundle, seed=2, **LONG)).id
    fleet.wait_for(job_id, "the job runs", lambda record: record.progress.step > 10)
    (worker,) = fleet.alive()
    assert worker.terminate() == 0, worker.log
    handed = fleet.store.read_job(job_id)
    assert (handed.status, handed.queue_position) == ("queued", 1)
    assert fleet.store.workers() == [], "a worker that leaves says goodbye"

    fleet.start()
    record = fleet.wait_for(job_id, "the job ends", lambda record: record.finished)
    assert record.status == "succeeded", record.error
    assert record.result is not None
    resumed = record.result.what_was_done.resumed_from_step
    assert resumed >= handed.progress.step > 10, "the very last latent was handed over"


def test_a_running_job_survives_a_restart_of_redis(
    fleet: Fleet, server: RedisServer, tiny_bundle: Bundle
) -> None:
    fleet.ensure(1)
    job_id = fleet.queue.enqueue(request(fleet.store, tiny_bundle, seed=3, **LONG)).id
    waiting = fleet.queue.enqueue(request(fleet.store, tiny_bundle, seed=4)).id
    fleet.wait_for(job_id, "the job runs", lambda record: record.progress.step > 10)
    server.stop()
    time.sleep(1.0)
    server.start()
    for each in (job_id, waiting):
        record = fleet.wait_for(each, "the job ends", lambda record: record.finished)
        assert (record.status, record.attempts) == ("succeeded", 1), record.error

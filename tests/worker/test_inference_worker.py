"""One real worker process runs all jobs of this module, one after the other."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from ni_core.bundles import Bundle
from ni_core.images import decode_image
from tests.conftest import RedisServer, WorkerProcess, short_settings, wait_until
from tests.worker.material import picture, request
from worker.connection import connect
from worker.contracts import InversionRequest, JobRecord
from worker.queue import JobQueue
from worker.settings import Settings
from worker.store import Store


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def settings(server: RedisServer, model_directory: Path) -> Settings:
    return short_settings(server.url, model_directory, heartbeat_timeout_s=60.0)


@pytest.fixture(scope="module")
def redis(server: RedisServer) -> Iterator[Redis]:
    client = connect(server.url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def store(redis: Redis, settings: Settings) -> Store:
    return Store(redis, settings)


@pytest.fixture(scope="module")
def queue(store: Store) -> JobQueue:
    return JobQueue(store)


@pytest.fixture(scope="module")
def worker(
    settings: Settings, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    process = WorkerProcess(settings, tmp_path_factory.mktemp("worker"), 0)
    try:
        yield process.wait_ready(store)
    finally:
        process.end()


@pytest.fixture
def run(worker: WorkerProcess, queue: JobQueue) -> Iterator[Callable[..., JobRecord]]:
    """Run a job to its end; the worker must live on."""

    def run(asked: InversionRequest) -> JobRecord:
        job_id = queue.enqueue(asked).id
        wait_until(lambda: queue.store.read_job(job_id).finished, "the job ends", 60.0)
        return queue.store.read_job(job_id)

    yield run
    assert worker.process.poll() is None, worker.log


def test_a_picture_becomes_a_latent(
    run: Callable[..., JobRecord], store: Store, tiny_bundle: Bundle
) -> None:
    asked = request(store, tiny_bundle, seed=1, steps=30)
    record = run(asked)
    assert record.status == "succeeded", record.error
    assert record.result is not None
    (described,) = record.result.latents
    stored, latent = store.get_latent(described.id)
    assert stored == described
    assert latent.generator == tiny_bundle.generator.fingerprint
    assert (stored.space, stored.source, stored.model) == ("w+", asked.images[0], "tiny")
    assert stored.metrics is not None and {"mse", "psnr", "lpips", "trunk"} <= set(stored.metrics)
    what = record.result.what_was_done
    assert (what.steps, what.stopped, what.resumed_from_step) == (30, "steps", 0)
    assert len(record.result.history[0]) == 30
    assert record.progress.step == 30 and record.attempts == 1


def test_the_events_tell_the_whole_story(
    run: Callable[..., JobRecord], store: Store, tiny_bundle: Bundle
) -> None:
    record = run(request(store, tiny_bundle, seed=2, steps=80, patience=0))
    events = store.events(record.id, count=1000)
    names = [event.name for event in events]
    assert names[0] == "progress" and names[-1] == "terminal"
    assert names.count("terminal") == 1
    steps = [event.data["step"] for event in events if event.name == "progress"]
    assert steps == sorted(steps, key=str) or steps == sorted(
        steps, key=lambda step: int(str(step))
    )
    assert steps[-1] == 80
    preview = next(event for event in events if event.name == "preview")
    images = preview.data["images"]
    assert isinstance(images, list)
    assert decode_image(base64.b64decode(str(images[0]))).shape == (3, 16, 16)


def test_a_batch_gives_a_latent_for_each_picture(
    run: Callable[..., JobRecord], store: Store, tiny_bundle: Bundle
) -> None:
    asked = request(store, tiny_bundle, seed=3, batch=3)
    record = run(asked)
    assert record.result is not None, record.error
    assert [latent.source for latent in record.result.latents] == list(asked.images)


def test_a_second_job_loads_no_model(
    run: Callable[..., JobRecord], worker: WorkerProcess, store: Store, tiny_bundle: Bundle
) -> None:
    run(request(store, tiny_bundle, seed=4))
    run(request(store, tiny_bundle, seed=5))
    described = worker.record(store)
    assert described is not None
    assert (described.model_loads, described.models) == (1, ("tiny",))
    assert described.cache_bytes > 0


def test_rq_keeps_nothing_of_finished_jobs(
    run: Callable[..., JobRecord], queue: JobQueue, redis: Redis, tiny_bundle: Bundle
) -> None:
    run(request(queue.store, tiny_bundle, seed=6))
    queue.enqueue(request(queue.store, tiny_bundle, seed=7, steps=5000))
    wait_until(lambda: queue.store.counts().running == 1, "the job runs")
    queue.cancel(queue.store.list_jobs(1)[0].id)
    wait_until(lambda: redis.keys("rq:job:*") == [], "RQ forgets the jobs", 5.0)
    assert len(queue.rq.started_job_registry) == 0
    assert len(queue.rq.failed_job_registry) == 0


def test_a_cancel_ends_a_running_job_within_a_step(
    worker: WorkerProcess, queue: JobQueue, tiny_bundle: Bundle
) -> None:
    store = queue.store
    job_id = queue.enqueue(request(store, tiny_bundle, seed=8, steps=5000, patience=0)).id
    wait_until(lambda: store.read_job(job_id).progress.step > 20, "the job runs")
    at_cancel = queue.cancel(job_id)
    wait_until(lambda: store.read_job(job_id).finished, "the job ends")
    record = store.read_job(job_id)
    assert (record.status, record.result) == ("canceled", None)
    duration_s = (record.finished_at - record.started_at).total_seconds()  # type: ignore[operator]
    step_s = duration_s / record.progress.step
    steps_after = record.progress.step - at_cancel.progress.step
    assert steps_after * step_s <= 2 * store.settings.control_interval_s + 2 * step_s
    assert store.events(job_id, count=1000)[-1].data["status"] == "canceled"


def changed(asked: InversionRequest, **changes: object) -> InversionRequest:
    return InversionRequest.model_validate({**asked.model_dump(), **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "nobody"}, "unknown-model"),
        ({"model": "../../etc/passwd"}, "unknown-model"),
        ({"generator": "another"}, "generator-mismatch"),
        ({"method": "magic"}, "unknown-method"),
        ({"options": {"steps": -1}}, "invalid-option"),
        ({"options": {"steps": 10**30}}, "invalid-option"),
        ({"options": {"nonsense": {"deep": [None]}}}, "invalid-option"),
        ({"images": ["f" * 64]}, "not-found"),
        ({"images": ["a:b", "*"]}, "not-found"),
    ],
)
def test_a_hostile_request_fails_its_job_and_not_the_worker(
    run: Callable[..., JobRecord],
    store: Store,
    tiny_bundle: Bundle,
    changes: dict[str, object],
    code: str,
) -> None:
    record = run(changed(request(store, tiny_bundle, seed=10), **changes))
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.code == code
    assert "Traceback" not in record.model_dump_json()


@pytest.mark.parametrize("damage", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\x00" * 50])
def test_a_broken_picture_fails_its_job_and_not_the_worker(
    run: Callable[..., JobRecord], store: Store, tiny_bundle: Bundle, damage: bytes
) -> None:
    asked = changed(request(store, tiny_bundle, seed=11), images=[store.put_image(damage)])
    record = run(asked)
    assert record.error is not None and record.error.code == "invalid-image"


def test_a_deleted_picture_fails_its_job_as_gone(
    run: Callable[..., JobRecord], store: Store, redis: Redis, tiny_bundle: Bundle
) -> None:
    asked = request(store, tiny_bundle, seed=12)
    redis.delete(store.key("image", asked.images[0]))
    record = run(asked)
    assert record.error is not None and record.error.code == "gone"


def test_garbage_in_the_queue_is_passed_over(
    run: Callable[..., JobRecord],
    queue: JobQueue,
    redis: Redis,
    tiny_bundle: Bundle,
    tmp_path: Path,
) -> None:
    redis.rpush(queue.rq.key, "no such job")
    redis.hset("rq:job:garbage", mapping={"data": b"\xff\x00", "created_at": "never"})
    redis.rpush(queue.rq.key, "garbage")
    queue.rq.enqueue_call("worker.tasks.run_inversion", args=("f" * 32,), job_id="foreign")
    folder = tmp_path / "made by a stranger"
    queue.rq.enqueue_call("os.mkdir", args=(str(folder),), job_id="stranger")
    assert run(request(queue.store, tiny_bundle, seed=13)).status == "succeeded"
    assert not folder.exists(), "no task but ours is run"
    redis.delete("rq:job:garbage")


def test_the_same_picture_again_needs_no_worker(
    run: Callable[..., JobRecord], queue: JobQueue, tiny_bundle: Bundle
) -> None:
    asked = request(queue.store, tiny_bundle, seed=14)
    first = run(asked)
    assert queue.enqueue(asked) == first
    assert queue.store.put_image(picture(tiny_bundle, 14)) == asked.images[0]

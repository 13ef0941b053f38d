"""The worker's loop in this process, so that no start of an interpreter has to be waited for."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ni_core.bundles import Bundle, ModelCache
from tests.conftest import RedisServer, short_settings, wait_until
from tests.worker.material import request
from worker.connection import connect
from worker.inference_worker import InferenceWorker
from worker.queue import JobQueue
from worker.store import Store


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the signal handlers back that the worker replaces."""
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in signals]
    yield
    for number, handler in zip(signals, before, strict=True):
        signal.signal(number, handler)


def serve_while(worker: InferenceWorker, watch: Callable[[], None], number: int) -> None:
    """Serve until `watch`, in a thread, is done; then ask to end with a signal."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            wait_until(lambda: signal.getsignal(number) == worker.request_stop, "it listens")
            watch()
        except BaseException as failure:
            failures.append(failure)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=run)
    thread.start()
    worker.serve()
    thread.join()
    for failure in failures:
        raise failure


def state(store: Store) -> str | None:
    """What the only worker says it does."""
    return next((worker.state for worker in store.workers()), None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_ends_on_a_signal_and_says_goodbye(
    handlers: None, queue: JobQueue, model_directory: Path, number: signal.Signals
) -> None:
    worker = InferenceWorker(queue, ModelCache([model_directory]), "cpu")
    serve_while(worker, lambda: _wait_idle(queue.store), number)
    assert queue.store.workers() == []
    assert queue.store.redis.smembers("rq:workers") == set()


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(
    handlers: None, own_redis_server: RedisServer, model_directory: Path, tiny_bundle: Bundle
) -> None:
    redis = connect(own_redis_server.url)
    store = Store(redis, short_settings(own_redis_server.url, model_directory))
    queue = JobQueue(store)
    own_redis_server.stop()
    worker = InferenceWorker(queue, ModelCache([model_directory]), "cpu")

    def watch() -> None:
        own_redis_server.start()
        job_id = queue.enqueue(request(store, tiny_bundle)).id
        wait_until(lambda: store.read_job(job_id).status == "succeeded", "the job is done")

    serve_while(worker, watch, signal.SIGTERM)
    redis.close()


def test_a_worker_that_never_meets_redis_still_ends(handlers: None, model_directory: Path) -> None:
    url = "unix:///nowhere/redis.sock"
    redis = connect(url)
    queue = JobQueue(Store(redis, short_settings(url, model_directory)))
    worker = InferenceWorker(queue, ModelCache([model_directory]), "cpu")
    serve_while(worker, lambda: None, signal.SIGTERM)


def test_a_bundle_that_cannot_be_preloaded_does_not_keep_the_worker_from_serving(
    handlers: None, store: Store, model_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = store.settings.model_copy(update={"preload": ("nobody",)})
    queue = JobQueue(Store(store.redis, settings))
    worker = InferenceWorker(queue, ModelCache([model_directory]), "cpu")
    serve_while(worker, lambda: _wait_idle(queue.store), signal.SIGTERM)
    assert "cannot preload nobody" in caplog.text


def _wait_idle(store: Store) -> None:
    wait_until(lambda: state(store) == "idle", "the worker is idle")

"""The task itself, in this process: no RQ, but a real store, a real model and a real descent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ni_core.bundles import Bundle, ModelCache
from ni_core.inversion import OptimizeOptions
from tests.conftest import wait_until
from tests.worker.material import claim, request, tiny_latent
from worker.contracts import JobRecord
from worker.lease import Checkpoint
from worker.queue import JobQueue, attempt_id
from worker.store import Store
from worker.tasks import Surroundings, hard_limit, rest_of, run_inversion, surroundings, thin


@pytest.fixture(scope="module")
def models(model_directory: Path) -> ModelCache:
    return ModelCache([model_directory])


@contextmanager
def inside_a_worker(
    store: Store, models: ModelCache, stopping: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    around = Surroundings(JobQueue(store), models, "test", stopping, lambda: None)
    reset = surroundings.set(around)
    try:
        yield
    finally:
        surroundings.reset(reset)


def run(store: Store, models: ModelCache, job_id: str) -> JobRecord:
    with inside_a_worker(store, models):
        run_inversion(job_id)
    return store.read_job(job_id)


def with_settings(store: Store, **changes: object) -> Store:
    return Store(store.redis, store.settings.model_copy(update=changes))


def test_a_job_over_its_time_limit_fails_and_says_so(
    store: Store, models: ModelCache, tiny_bundle: Bundle
) -> None:
    hasty = with_settings(store, job_time_limit_s=0.3)
    job_id = hasty.create_job(request(store, tiny_bundle, steps=5000, patience=0)).id
    record = run(hasty, models, job_id)
    assert record.status == "failed"
    assert record.error is not None and record.error.code == "time-limit"
    assert "limit of 0.3 s" in record.error.message
    assert record.progress.step < 5000


def test_a_resumed_job_goes_on_from_its_checkpoint(
    store: Store, models: ModelCache, tiny_bundle: Bundle
) -> None:
    job_id = store.create_job(request(store, tiny_bundle, steps=10)).id
    first = claim(store, job_id)
    first.save(Checkpoint(7, 1.0, tiny_latent(tiny_bundle).tensor[None]))
    first.hand_back()
    record = run(store, models, job_id)
    assert record.status == "succeeded", record.error
    assert record.result is not None and record.attempts == 2
    what = record.result.what_was_done
    assert (what.resumed_from_step, what.steps) == (7, 10)
    assert len(record.result.history[0]) == 3


def test_a_job_that_was_lost_after_its_last_step_is_finished(
    store: Store, models: ModelCache, tiny_bundle: Bundle
) -> None:
    job_id = store.create_job(request(store, tiny_bundle, steps=10)).id
    first = claim(store, job_id)
    first.save(Checkpoint(10, 1.0, tiny_latent(tiny_bundle).tensor[None]))
    first.hand_back()
    record = run(store, models, job_id)
    assert record.status == "succeeded", record.error
    assert record.result is not None and record.result.what_was_done.steps == 10


def test_a_worker_that_has_to_end_puts_its_job_in_front_of_the_queue(
    store: Store, models: ModelCache, tiny_bundle: Bundle
) -> None:
    queue = JobQueue(store)
    job_id = store.create_job(request(store, tiny_bundle, steps=5000, patience=0)).id
    queue.enqueue(request(store, tiny_bundle, seed=1))

    def stopping() -> bool:
        return store.read_job(job_id).progress.step >= 3

    with inside_a_worker(store, models, stopping):
        run_inversion(job_id)
    record = store.read_job(job_id)
    assert (record.status, record.queue_position) == ("queued", 1)
    assert queue.rq.get_job_ids()[0] == attempt_id(job_id, 2)
    saved = claim(store, job_id).checkpoint()
    assert saved is not None and saved.step >= 3


def test_a_worker_that_has_to_end_before_the_first_step_gives_the_job_back_as_it_was(
    store: Store, models: ModelCache, tiny_bundle: Bundle
) -> None:
    job_id = store.create_job(request(store, tiny_bundle)).id
    with inside_a_worker(store, models, lambda: True):
        run_inversion(job_id)
    assert store.read_job(job_id).status == "queued"
    assert claim(store, job_id).checkpoint() is None


def test_an_error_that_nobody_foresaw_tells_the_client_nothing_but_the_job(
    store: Store, models: ModelCache, tiny_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = store.create_job(request(store, tiny_bundle)).id
    asked = store.redis.hget(store.key("job", job_id), "request")
    store.redis.hset(store.key("job", job_id), "request", "{secret")
    with inside_a_worker(store, models):
        run_inversion(job_id)
    store.redis.hset(store.key("job", job_id), "request", asked or "")
    error = store.read_job(job_id).error
    assert error is not None and error.code == "internal-error"
    assert job_id in error.message and "secret" not in error.model_dump_json()
    assert "secret" in caplog.text, "the log has the details"


def test_a_worker_that_hangs_in_a_step_fails_its_job_and_ends_itself(
    store: Store, tiny_bundle: Bundle
) -> None:
    hasty = with_settings(store, job_time_limit_s=0.1, hard_limit_grace_s=0.1)
    lease = claim(hasty, hasty.create_job(request(store, tiny_bundle)).id)
    codes: list[int] = []
    with hard_limit(lease, end_process=codes.append):
        wait_until(lambda: codes == [70], "the process is ended")
    error = store.read_job(lease.job_id).error
    assert error is not None and error.code == "time-limit"


def test_a_job_that_does_not_wait_is_left_alone(
    store: Store, models: ModelCache, tiny_bundle: Bundle
) -> None:
    job_id = store.create_job(request(store, tiny_bundle)).id
    store.request_cancel(job_id)
    assert run(store, models, job_id).status == "canceled"
    assert store.read_job(job_id).attempts == 0


def test_a_task_outside_of_our_worker_says_what_is_missing() -> None:
    with pytest.raises(LookupError, match="surroundings"):
        run_inversion("any")


def test_a_resumed_job_has_only_the_rest_of_its_time() -> None:
    saved = Checkpoint(3, 4.0, torch.zeros(1))
    assert rest_of(OptimizeOptions(budget_seconds=10.0), saved).budget_seconds == 6.0
    assert rest_of(OptimizeOptions(budget_seconds=None), saved).budget_seconds is None
    used_up = rest_of(OptimizeOptions(budget_seconds=1.0), saved).budget_seconds
    assert used_up is not None and 0 < used_up < 0.01


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 5000])
def test_a_long_history_is_thinned_and_keeps_its_ends(count: int) -> None:
    losses = [float(number) for number in range(count)]
    kept = thin(losses)
    assert len(kept) == min(count, 256)
    assert list(kept) == sorted(set(kept))
    assert not losses or (kept[0], kept[-1]) == (losses[0], losses[-1])

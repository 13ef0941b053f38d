from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from ni_core.bundles import Bundle
from tests.conftest import wait_until
from tests.worker.material import claim, request, result_of, tiny_latent
from worker import scripts
from worker.contracts import Failure, Progress
from worker.lease import Canceled, Checkpoint, Lease, LostLease, StopInversion, new_token
from worker.store import Store

FAILURE = Failure(code="time-limit", message="too long")


def queued(store: Store, bundle: Bundle, seed: int = 0) -> str:
    return store.create_job(request(store, bundle, seed=seed)).id


def rescue(store: Store, job_id: str, attempts: int = 3) -> str:
    """Take the job from its worker, as a watchdog does after a silence of 0 s."""
    failure = FAILURE.model_dump_json()
    args: list[str | int] = [store.job_config(job_id), 0, attempts, failure]
    answer: bytes = store.script(scripts.RESCUE)(args=args)
    return answer.decode()


def test_a_job_is_taken_once(store: Store, tiny_bundle: Bundle) -> None:
    job_id = queued(store, tiny_bundle)
    with ThreadPoolExecutor(8) as threads:
        leases = threads.map(lambda _: Lease.claim(store, job_id, "w", new_token()), range(16))
        assert len([lease for lease in leases if lease is not None]) == 1
    record = store.read_job(job_id)
    assert (record.status, record.attempts) == ("running", 1)
    assert record.started_at is not None


def test_asking_twice_with_the_same_token_is_one_claim(store: Store, tiny_bundle: Bundle) -> None:
    job_id, token = queued(store, tiny_bundle), new_token()
    first, second = (Lease.claim(store, job_id, "w", token) for _ in range(2))
    assert first is not None and second is not None
    assert first.attempt == second.attempt == store.read_job(job_id).attempts == 1


def test_a_report_shows_in_the_record_and_the_events(store: Store, tiny_bundle: Bundle) -> None:
    lease = claim(store, queued(store, tiny_bundle))
    progress = Progress(step=4, steps=9, loss=0.5, eta_s=1.25)
    lease.report(progress, [("progress", progress.model_dump(mode="json"))])
    assert store.read_job(lease.job_id).progress == progress
    (event,) = store.events(lease.job_id)
    assert Progress.model_validate(event.data) == progress


def test_success_brings_result_latents_and_last_event_together(
    store: Store, tiny_bundle: Bundle
) -> None:
    lease, latent = claim(store, queued(store, tiny_bundle)), tiny_latent(tiny_bundle)
    lease.save(Checkpoint(2, 0.1, latent.tensor[None]))
    result = result_of(store, latent)
    assert lease.succeed(result, [latent], 0.2) == "succeeded"
    record = store.read_job(lease.job_id)
    assert (record.status, record.result) == ("succeeded", result)
    assert record.finished_at is not None and record.expires_at > record.finished_at
    stored, numbers = store.get_latent(result.latents[0].id)
    assert stored == result.latents[0] and torch.equal(numbers.tensor, latent.tensor)
    (event,) = store.events(lease.job_id)
    assert (event.name, event.data) == ("terminal", {"status": "succeeded", "error": None})
    assert lease.checkpoint() is None


def test_progress_that_was_not_told_before_is_told_with_the_end(
    store: Store, tiny_bundle: Bundle
) -> None:
    lease, latent = claim(store, queued(store, tiny_bundle)), tiny_latent(tiny_bundle)
    progress = Progress(step=1, steps=1, eta_s=0.0)
    lease.succeed(result_of(store, latent), [latent], 0.2, progress)
    assert store.read_job(lease.job_id).progress == progress
    told, end = store.events(lease.job_id)
    assert (Progress.model_validate(told.data), end.name) == (progress, "terminal")


def test_a_failure_shows_its_code_and_reason(store: Store, tiny_bundle: Bundle) -> None:
    lease = claim(store, queued(store, tiny_bundle))
    assert lease.fail(FAILURE, 0.2) == "failed"
    assert store.read_job(lease.job_id).error == FAILURE
    (event,) = store.events(lease.job_id)
    assert event.data == {"status": "failed", "error": FAILURE.model_dump()}


def test_a_cancel_is_seen_at_the_next_report_and_wins_over_success(
    store: Store, tiny_bundle: Bundle
) -> None:
    lease, latent = claim(store, queued(store, tiny_bundle)), tiny_latent(tiny_bundle)
    assert store.request_cancel(lease.job_id) == "running"
    assert store.read_job(lease.job_id).cancel_requested
    with pytest.raises(Canceled):
        lease.report()
    result = result_of(store, latent)
    assert lease.succeed(result, [latent], 0.2) == "canceled"
    record = store.read_job(lease.job_id)
    assert (record.status, record.result) == ("canceled", None)
    assert store.redis.exists(store.key("latent", result.latents[0].id)) == 0


def test_a_finished_job_cannot_be_canceled(store: Store, tiny_bundle: Bundle) -> None:
    lease = claim(store, queued(store, tiny_bundle))
    lease.fail(FAILURE, 0.2)
    assert store.request_cancel(lease.job_id) == "failed"
    assert len(store.events(lease.job_id)) == 1


WRITES: list[Callable[[Lease, Store, Bundle], object]] = [
    lambda lease, store, bundle: lease.report(Progress(step=1)),
    lambda lease, store, bundle: lease.save(Checkpoint(1, 0.1, torch.zeros(1, 2))),
    lambda lease, store, bundle: lease.fail(FAILURE, 0.1),
    lambda lease, store, bundle: lease.cancel(0.1),
    lambda lease, store, bundle: lease.hand_back(),
    lambda lease, store, bundle: lease.succeed(
        result_of(store, tiny_latent(bundle)), [tiny_latent(bundle)], 0.1
    ),
]


@pytest.mark.parametrize("write", WRITES)
def test_a_slow_worker_cannot_write_once_its_job_is_another_ones(
    store: Store, tiny_bundle: Bundle, write: Callable[[Lease, Store, Bundle], object]
) -> None:
    slow = claim(store, queued(store, tiny_bundle), "slow")
    assert rescue(store, slow.job_id) == "queued"
    with pytest.raises(LostLease):
        write(slow, store, tiny_bundle)
    fast, latent = claim(store, slow.job_id, "fast"), tiny_latent(tiny_bundle)
    assert fast.attempt == 2
    with pytest.raises(LostLease):
        write(slow, store, tiny_bundle)
    assert fast.succeed(result_of(store, latent), [latent], 0.1) == "succeeded"
    with pytest.raises(LostLease):
        write(slow, store, tiny_bundle)
    assert store.counts().finished == {"succeeded": 1}
    assert [event.name for event in store.events(slow.job_id)] == ["terminal"]


def test_what_was_saved_is_there_for_the_next_attempt(store: Store, tiny_bundle: Bundle) -> None:
    first = claim(store, queued(store, tiny_bundle))
    latents = torch.randn(2, 3, 4)
    first.report(Progress(step=7, steps=9))
    first.save(Checkpoint(7, 1.5, latents))
    assert first.hand_back() == "queued"
    record = store.read_job(first.job_id)
    assert (record.status, record.progress.step, record.queue_position) == ("queued", 7, 1)
    saved = claim(store, first.job_id).checkpoint()
    assert saved is not None
    assert (saved.step, saved.seconds) == (7, 1.5)
    assert torch.equal(saved.latents, latents)


def test_a_job_that_loses_too_many_workers_fails(store: Store, tiny_bundle: Bundle) -> None:
    job_id = queued(store, tiny_bundle)
    claim(store, job_id)
    assert rescue(store, job_id, attempts=2) == "queued"
    claim(store, job_id)
    assert rescue(store, job_id, attempts=2) == "failed"
    assert store.read_job(job_id).error == FAILURE


def test_a_job_that_is_handed_back_lost_no_worker(store: Store, tiny_bundle: Bundle) -> None:
    job_id = queued(store, tiny_bundle)
    for _ in range(5):
        assert claim(store, job_id).hand_back() == "queued"
    claim(store, job_id)
    assert rescue(store, job_id, attempts=2) == "queued"


def test_a_canceled_job_does_not_go_back_to_the_queue(store: Store, tiny_bundle: Bundle) -> None:
    handed, lost = (claim(store, queued(store, tiny_bundle, seed)) for seed in range(2))
    for lease in (handed, lost):
        store.request_cancel(lease.job_id)
    assert handed.hand_back() == "canceled"
    assert rescue(store, lost.job_id) == "canceled"


def test_signs_of_life_come_from_a_thread_while_there_are_no_steps(
    store: Store, tiny_bundle: Bundle
) -> None:
    lease = claim(store, queued(store, tiny_bundle))

    def heartbeat() -> float:
        return float(store.redis.hget(store.key("job", lease.job_id), "heartbeat") or 0)

    before = heartbeat()
    with lease.kept_alive():
        wait_until(lambda: heartbeat() > before, "a heartbeat comes", 5.0)


def test_no_broad_except_swallows_the_end_of_a_descent() -> None:
    assert not issubclass(StopInversion, Exception)

import pytest
from redis import Redis

from ni_core.bundles import Bundle
from tests.worker.material import claim, request
from worker.errors import StoreNotFoundError
from worker.queue import JobQueue, attempt_id
from worker.store import Store


def test_rq_carries_the_id_and_nothing_else(queue: JobQueue, tiny_bundle: Bundle) -> None:
    record = queue.enqueue(request(queue.store, tiny_bundle))
    (job,) = queue.rq.get_jobs()
    assert (job.id, job.args) == (attempt_id(record.id, 1), [record.id])
    assert job.func_name == "worker.tasks.run_inversion"
    assert len(job.data) < 200
    assert job.result_ttl == 0


def test_a_job_that_waits_is_canceled_at_once(
    redis: Redis, queue: JobQueue, tiny_bundle: Bundle
) -> None:
    record = queue.enqueue(request(queue.store, tiny_bundle))
    assert queue.cancel(record.id).status == "canceled"
    assert queue.rq.get_job_ids() == []
    assert redis.keys("rq:job:*") == []
    (event,) = queue.store.events(record.id)
    assert event.name == "terminal"


def test_a_running_job_is_asked_to_stop(queue: JobQueue, tiny_bundle: Bundle) -> None:
    record = queue.enqueue(request(queue.store, tiny_bundle))
    claim(queue.store, record.id)
    canceled = queue.cancel(record.id)
    assert (canceled.status, canceled.cancel_requested) == ("running", True)


def test_a_canceled_job_can_be_canceled_again(queue: JobQueue, tiny_bundle: Bundle) -> None:
    record = queue.enqueue(request(queue.store, tiny_bundle))
    assert queue.cancel(record.id) == queue.cancel(record.id)


def test_an_unknown_job_cannot_be_canceled(queue: JobQueue) -> None:
    with pytest.raises(StoreNotFoundError):
        queue.cancel("f" * 32)


def test_handing_a_job_to_rq_twice_does_no_harm(queue: JobQueue, tiny_bundle: Bundle) -> None:
    record = queue.enqueue(request(queue.store, tiny_bundle))
    queue.push(record.id, 1)
    queue.push(record.id, 1)
    assert queue.rq.get_job_ids() == [attempt_id(record.id, 1)]


def test_jobs_wait_in_their_order_and_returned_ones_come_first(
    store: Store, queue: JobQueue, tiny_bundle: Bundle
) -> None:
    ids = [queue.enqueue(request(store, tiny_bundle, seed=seed)).id for seed in range(3)]
    assert queue.rq.get_job_ids() == [attempt_id(job_id, 1) for job_id in ids]
    queue.rq.pop_job_id()
    claim(store, ids[0]).hand_back()
    queue.push(ids[0], 2, at_front=True)
    assert queue.rq.get_job_ids()[0] == attempt_id(ids[0], 2)
    assert store.queue_position(ids[0]) == 1

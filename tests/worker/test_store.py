import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from ni_core.bundles import Bundle
from tests.conftest import RedisServer, short_settings, wait_until
from tests.worker.material import claim, request, result_of, tiny_latent
from worker.connection import REDIS_DOWN, connect
from worker.contracts import InversionRequest, WorkerRecord
from worker.errors import QueueFullError, StoreGoneError, StoreNotFoundError
from worker.queue import JobQueue
from worker.settings import Settings
from worker.store import Store


def with_settings(store: Store, **changes: object) -> Store:
    return Store(store.redis, store.settings.model_copy(update=changes))


def test_a_picture_comes_back_and_has_one_id(store: Store) -> None:
    first, second = store.put_image(b"bytes"), store.put_image(b"bytes")
    assert first == second
    assert store.get_image(first) == b"bytes"


def test_a_latent_comes_back_bit_by_bit_with_its_record(store: Store, tiny_bundle: Bundle) -> None:
    latent = tiny_latent(tiny_bundle)
    record = store.put_latent(latent, model="tiny", method="sample", metrics={"psnr": 30.0})
    read, again = store.get_latent(record.id)
    assert read == record == store.read_latent(record.id)
    assert torch.equal(again.tensor, latent.tensor)
    assert (again.space, again.generator) == (latent.space, latent.generator)
    assert read.shape == tuple(latent.tensor.shape)
    left = read.expires_at - datetime.now(UTC)
    assert timedelta(seconds=store.settings.latent_ttl_s - 60) < left
    assert left <= timedelta(seconds=store.settings.latent_ttl_s)


def test_ids_are_long_and_never_repeat(store: Store, tiny_bundle: Bundle) -> None:
    latent = tiny_latent(tiny_bundle)
    ids = {store.put_latent(latent, model="tiny", method="sample").id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(latent_id) == 32 for latent_id in ids)


def test_a_deleted_latent_is_gone_and_an_unseen_one_was_never_there(
    store: Store, tiny_bundle: Bundle
) -> None:
    record = store.put_latent(tiny_latent(tiny_bundle), model="tiny", method="sample")
    store.delete_latent(record.id)
    for read in (store.get_latent, store.read_latent, store.delete_latent):
        with pytest.raises(StoreGoneError, match=record.id):
            read(record.id)
    with pytest.raises(StoreNotFoundError):
        store.get_latent("f" * 32)


def test_an_expired_latent_is_gone(store: Store, tiny_bundle: Bundle) -> None:
    brief = with_settings(store, latent_ttl_s=1)
    record = brief.put_latent(tiny_latent(tiny_bundle), model="tiny", method="sample")

    def gone() -> bool:
        try:
            store.get_latent(record.id)
        except StoreGoneError:
            return True
        return False

    assert wait_until(gone, "the latent expires", 5.0) < 3.0


def test_a_latent_id_is_not_a_job_id(store: Store, tiny_bundle: Bundle) -> None:
    record = store.put_latent(tiny_latent(tiny_bundle), model="tiny", method="sample")
    with pytest.raises(StoreNotFoundError):
        store.read_job(record.id)


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.text(max_size=200) | st.sampled_from(["a:events", "*", "../x", "known:1", "\r\nPING"]))
def test_text_that_is_no_id_is_not_found(session_redis: RedisServer, text: str) -> None:
    redis = connect(session_redis.url)
    try:
        store = Store(redis, Settings())
        for read in (store.read_job, store.get_latent, store.get_image, store.request_cancel):
            with pytest.raises(StoreNotFoundError):
                read(text)
        with pytest.raises(StoreNotFoundError):
            store.events_key(text + ":")
    finally:
        redis.close()


def test_everything_that_is_written_expires(
    redis: Redis, store: Store, queue: JobQueue, tiny_bundle: Bundle
) -> None:
    store.put_latent(tiny_latent(tiny_bundle), model="tiny", method="sample")
    record = queue.enqueue(request(store, tiny_bundle))
    lease = claim(store, record.id)
    lease.report(events=[("progress", {"step": 1})])
    indexes = {b"ni:jobs", b"ni:queued", b"ni:running", b"ni:totals", b"ni:workers"}
    lasting = {key for key in redis.keys("ni:*") if redis.ttl(key) == -1}
    assert lasting <= indexes


def test_equal_work_joins_the_job_that_waits_or_runs(store: Store, tiny_bundle: Bundle) -> None:
    asked = request(store, tiny_bundle)
    first = store.create_job(asked)
    assert store.create_job(asked).id == first.id
    claim(store, first.id)
    assert store.create_job(asked).id == first.id
    assert store.find_by_digest(asked.digest()) == store.read_job(first.id)


def test_the_order_of_options_does_not_matter_and_their_values_do() -> None:
    def digest(**options: object) -> str:
        return InversionRequest.model_validate(
            {"model": "m", "generator": "g", "images": ("i",), "options": options}
        ).digest()

    assert digest(a=1, b=2.5) == digest(b=2.5, a=1)
    assert digest(a=1) != digest(a=2)


def test_equal_work_is_answered_by_a_result_while_its_latents_are_here(
    store: Store, tiny_bundle: Bundle
) -> None:
    asked, latent = request(store, tiny_bundle), tiny_latent(tiny_bundle)
    first = store.create_job(asked)
    result = result_of(store, latent)
    claim(store, first.id).succeed(result, [latent], 0.1)
    again = store.create_job(asked)
    assert (again.id, again.status) == (first.id, "succeeded")
    store.delete_latent(result.latents[0].id)
    assert store.find_by_digest(asked.digest()) is None
    assert store.create_job(asked).id != first.id


def test_equal_work_runs_again_after_a_failure_or_a_cancel(
    store: Store, tiny_bundle: Bundle
) -> None:
    asked = request(store, tiny_bundle)
    first = store.create_job(asked)
    store.request_cancel(first.id)
    second = store.create_job(asked)
    assert second.id != first.id
    claim(store, second.id)
    store.request_cancel(second.id)
    assert store.create_job(asked).id not in (first.id, second.id)


def test_equal_requests_at_the_same_moment_make_one_job(store: Store, tiny_bundle: Bundle) -> None:
    asked = request(store, tiny_bundle)
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: JobQueue(store).enqueue(asked).id, range(24)))
    assert len(ids) == 1
    assert len(JobQueue(store).rq.get_job_ids()) == 1


def test_a_full_queue_refuses_and_says_when_to_come_back(store: Store, tiny_bundle: Bundle) -> None:
    small = with_settings(store, queue_limit=2)
    for seed in range(2):
        small.create_job(request(store, tiny_bundle, seed=seed))
    with pytest.raises(QueueFullError, match="2 jobs wait and the limit is 2") as refused:
        small.create_job(request(store, tiny_bundle, seed=2))
    assert refused.value.retry_after_s >= 1
    assert refused.value.details["limit"] == 2


def test_jobs_are_listed_youngest_first_and_by_status(store: Store, tiny_bundle: Bundle) -> None:
    ids = [store.create_job(request(store, tiny_bundle, seed=seed)).id for seed in range(3)]
    store.request_cancel(ids[1])
    assert [record.id for record in store.list_jobs()] == ids[::-1]
    assert [record.id for record in store.list_jobs(1)] == [ids[2]]
    assert [record.id for record in store.list_jobs(status="canceled")] == [ids[1]]


def test_a_waiting_job_knows_its_place(store: Store, tiny_bundle: Bundle) -> None:
    ids = [store.create_job(request(store, tiny_bundle, seed=seed)).id for seed in range(3)]
    assert [store.queue_position(job_id) for job_id in ids] == [1, 2, 3]
    claim(store, ids[0])
    assert [store.queue_position(job_id) for job_id in ids] == [None, 1, 2]


def test_the_status_of_a_job_outlives_its_result(
    redis_url: str, redis: Redis, settings: Settings, tiny_bundle: Bundle
) -> None:
    assert settings.model_dir is not None
    brief = Store(redis, short_settings(redis_url, settings.model_dir, latent_ttl_s=1))
    asked, latent = request(brief, tiny_bundle), tiny_latent(tiny_bundle)
    record = brief.create_job(asked)
    claim(brief, record.id).succeed(result_of(brief, latent), [latent], 0.1)
    assert brief.read_job(record.id).status == "succeeded"
    wait_until(lambda: brief.read_job(record.id).status == "expired", "the result expires", 5.0)
    assert brief.read_job(record.id).result is None
    assert brief.create_job(asked).id != record.id


def test_an_answer_that_ended_by_its_record_is_not_given_again(
    store: Store, tiny_bundle: Bundle
) -> None:
    asked, latent = request(store, tiny_bundle), tiny_latent(tiny_bundle)
    record = store.create_job(asked)
    result = result_of(store, latent)
    ended = tuple(
        kept.model_copy(update={"expires_at": datetime.now(UTC)}) for kept in result.latents
    )
    claim(store, record.id).succeed(result.model_copy(update={"latents": ended}), [latent], 0.1)
    assert store.get_latent(ended[0].id)
    assert store.read_job(record.id).status == "expired"
    assert store.create_job(asked).id != record.id


def test_an_expired_job_is_gone(store: Store, tiny_bundle: Bundle) -> None:
    brief = with_settings(store, job_ttl_s=1)
    record = brief.create_job(request(store, tiny_bundle))
    time.sleep(1.2)
    with pytest.raises(StoreGoneError):
        brief.read_job(record.id)
    assert brief.list_jobs() == []


def test_events_are_read_on_from_the_last_one_seen(store: Store, tiny_bundle: Bundle) -> None:
    record = store.create_job(request(store, tiny_bundle))
    lease = claim(store, record.id)
    for step in range(3):
        lease.report(events=[("progress", {"step": step})])
    first, *rest = store.events(record.id)
    assert first.data == {"step": 0}
    assert store.events(record.id, first.id) == rest
    assert store.events(record.id, "no id at all") == [first, *rest]
    assert store.events(record.id, rest[-1].id) == []


def test_waiting_for_an_event_ends_when_it_comes(store: Store, tiny_bundle: Bundle) -> None:
    record = store.create_job(request(store, tiny_bundle))
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(store.events, record.id, block_s=2.0)
        time.sleep(0.1)
        store.request_cancel(record.id)
        (event,) = waiting.result()
    assert (event.name, event.data) == ("terminal", {"status": "canceled", "error": None})


def test_a_worker_is_known_until_it_is_silent_or_leaves(store: Store) -> None:
    now = datetime.now(UTC)
    record = WorkerRecord(
        name="a", host="h", pid=1, state="idle", device="cpu", started_at=now, heartbeat_at=now
    )
    brief = with_settings(store, heartbeat_timeout_s=0.3)
    brief.put_worker(record)
    assert store.workers() == [record]
    wait_until(lambda: store.workers() == [], "the silent worker is forgotten", 5.0)
    store.put_worker(record)
    store.drop_worker("a")
    assert store.workers() == []


def test_counts_follow_the_jobs(store: Store, tiny_bundle: Bundle) -> None:
    ids = [store.create_job(request(store, tiny_bundle, seed=seed)).id for seed in range(3)]
    latent = tiny_latent(tiny_bundle)
    claim(store, ids[0]).succeed(result_of(store, latent), [latent], 1.5)
    claim(store, ids[1])
    counts = store.counts()
    assert (counts.queued, counts.running, counts.workers) == (1, 1, 0)
    assert counts.finished == {"succeeded": 1}
    assert counts.job_seconds == 1.5


def test_a_redis_that_is_not_there_is_an_error_at_once() -> None:
    redis = connect("unix:///nowhere/redis.sock")
    with pytest.raises(REDIS_DOWN):
        Store(redis, Settings()).ping()
    redis.close()

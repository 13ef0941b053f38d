from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from pydantic import JsonValue

from tests.service import pictures
from tests.service.conftest import Serve
from tests.service.problem import expect_problem
from worker.contracts import Failure, Progress
from worker.lease import Canceled, Lease
from worker.queue import JobQueue
from worker.store import Store


def create(client: httpx.Client, seed: int = 0) -> str:
    return str(client.post("/invert", files={"image": pictures.photo(seed)}).json()["id"])


def events_of(stream: httpx.Response) -> Iterator[dict[str, str]]:
    """The events of a stream, as the browser's EventSource reads them."""
    event: dict[str, str] = {}
    for line in stream.iter_lines():
        if not line:
            if "event" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def test_a_job_can_be_read(client: httpx.Client) -> None:
    job_id = create(client)
    job = client.get(f"/jobs/{job_id}").json()
    assert set(job) >= {
        "id", "kind", "status", "progress", "queue_position", "result", "error",
        "created_at", "started_at", "finished_at", "expires_at", "links",
    }  # fmt: skip
    assert set(job["progress"]) == {"step", "steps", "loss", "eta_s"}
    assert (job["status"], job["result"], job["error"]) == ("queued", None, None)
    assert job["links"] == {"self": f"/jobs/{job_id}", "events": f"/jobs/{job_id}/events"}


def test_jobs_are_listed_the_youngest_first(client: httpx.Client) -> None:
    ids = [create(client, seed) for seed in range(3)]
    client.delete(f"/jobs/{ids[1]}")
    assert [job["id"] for job in client.get("/jobs").json()["jobs"]] == ids[::-1]
    assert [job["id"] for job in client.get("/jobs?limit=1").json()["jobs"]] == ids[2:]
    canceled = client.get("/jobs?status=canceled").json()["jobs"]
    assert [job["id"] for job in canceled] == [ids[1]]


@pytest.mark.parametrize(
    ("query", "mentions"),
    [
        ("limit=0", ("limit", "0", "1")),
        ("limit=201", ("limit", "201", "200")),
        ("limit=x", ("limit", "x")),
        ("status=done", ("status", "done", "succeeded")),
    ],
)
def test_a_wrong_list_is_refused(
    client: httpx.Client, query: str, mentions: tuple[str, ...]
) -> None:
    expect_problem(client.get(f"/jobs?{query}"), "invalid-field", *mentions)


def test_a_waiting_job_is_canceled_at_once(client: httpx.Client, queue: JobQueue) -> None:
    job_id = create(client)
    answer = client.delete(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert queue.rq.get_job_ids() == []
    again = client.delete(f"/jobs/{job_id}")
    assert (again.status_code, again.json()["status"]) == (200, "canceled")


@pytest.mark.parametrize("path", ["", "/events"])
@pytest.mark.parametrize("name", ["0" * 32, "x" * 100, "a%20b"])
def test_an_unknown_job_is_not_found(client: httpx.Client, name: str, path: str) -> None:
    expect_problem(client.get(f"/jobs/{name}{path}"), "not-found")


def test_an_unknown_job_cannot_be_canceled(client: httpx.Client) -> None:
    expect_problem(client.delete("/jobs/" + "0" * 32), "not-found")


def test_a_job_that_is_over_is_gone(client: httpx.Client, store: Store) -> None:
    job_id = create(client)
    store.redis.delete(store.key("job", job_id))
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/events"):
        expect_problem(client.get(path), "gone", job_id)


def test_events_follow_a_job_to_its_end_and_can_be_resumed(
    client: httpx.Client, store: Store
) -> None:
    job_id = create(client)
    path = f"/jobs/{job_id}/events"
    with client.stream("GET", path) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        client.delete(f"/jobs/{job_id}")
        events = list(events_of(stream))
    assert [event["event"] for event in events] == ["terminal"]
    assert json.loads(events[0]["data"]) == {"status": "canceled", "error": None}
    with client.stream("GET", path) as stream:
        assert list(events_of(stream)) == events
    last = {"Last-Event-ID": events[-1]["id"]}
    assert client.get(path, headers=last).status_code == 204
    with client.stream("GET", path, headers={"Last-Event-ID": "nonsense"}) as stream:
        assert list(events_of(stream)) == events


def test_a_stream_whose_events_have_expired_still_ends(client: httpx.Client, store: Store) -> None:
    job_id = create(client)
    client.delete(f"/jobs/{job_id}")
    store.redis.delete(store.events_key(job_id))
    with client.stream("GET", f"/jobs/{job_id}/events") as stream:
        (event,) = events_of(stream)
    assert json.loads(event["data"])["status"] == "canceled"


def claimed(store: Store, job_id: str) -> Lease:
    """Take a job as a worker would."""
    lease = Lease.claim(store, job_id, worker="test", token=job_id)
    assert lease is not None
    return lease


def test_progress_and_previews_are_told_as_they_come(client: httpx.Client, store: Store) -> None:
    job_id = create(client)
    lease = claimed(store, job_id)
    progress = Progress(step=3, steps=20, loss=0.5, eta_s=1.25)
    preview: dict[str, JsonValue] = {"step": 3, "media_type": "image/webp", "images": ["AAAA"]}
    lease.report(progress, [("progress", progress.model_dump()), ("preview", preview)])
    job = client.get(f"/jobs/{job_id}").json()
    assert (job["status"], job["progress"]) == ("running", progress.model_dump())
    with client.stream("GET", f"/jobs/{job_id}/events") as stream:
        events = events_of(stream)
        first, second = next(events), next(events)
        later = Progress(step=4, steps=20, loss=0.4, eta_s=1.0).model_dump()
        lease.report(events=[("progress", later)])
        assert json.loads(next(events)["data"]) == later
    assert (first["event"], json.loads(first["data"])) == ("progress", progress.model_dump())
    assert (second["event"], json.loads(second["data"])) == ("preview", preview)
    resumed = {"Last-Event-ID": first["id"]}
    with client.stream("GET", f"/jobs/{job_id}/events", headers=resumed) as stream:
        assert next(events_of(stream)) == second


def test_a_running_job_is_canceled_by_its_worker(client: httpx.Client, store: Store) -> None:
    job_id = create(client)
    lease = claimed(store, job_id)
    answer = client.delete(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
    with pytest.raises(Canceled):
        lease.report(Progress(step=1))


def test_a_failed_job_is_a_good_answer_with_a_problem_in_it(
    client: httpx.Client, store: Store
) -> None:
    job_id = create(client)
    failure = Failure(code="inversion-diverged", message="loss is nan", details={"step": 7})
    claimed(store, job_id).fail(failure, seconds=1.0)
    answer = client.get(f"/jobs/{job_id}")
    expected = {
        "type": "/problems/inversion-diverged",
        "title": "The descent left the finite numbers",
        "status": 422,
        "detail": "loss is nan",
        "step": 7,
    }
    assert (answer.status_code, answer.json()["error"]) == (200, expected)
    with client.stream("GET", f"/jobs/{job_id}/events") as stream:
        (event,) = events_of(stream)
    assert json.loads(event["data"]) == {"status": "failed", "error": expected}


def test_a_silent_stream_sends_comments(serve: Serve) -> None:
    client = serve(heartbeat_event_s=0.3)
    with client.stream("GET", f"/jobs/{create(client)}/events") as stream:
        lines = stream.iter_lines()
        assert [next(lines) for _ in range(5)][2::2] == [": still here", ": still here"]

"""Jobs: look, list, cancel, follow."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from starlette.responses import StreamingResponse

from service.answers import problems
from service.dependencies import Services, ServicesDep
from service.schemas import JobAnswer, JobList
from service.views import failure_problem, job_answer
from worker.connection import REDIS_DOWN
from worker.contracts import Event, Failure, JobStatus

router = APIRouter(tags=["jobs"], responses=problems(401, 503))

JobId = Annotated[str, Path(max_length=128, description="From POST /invert.")]
POLL_S = 0.1
"""Seconds between two looks for new events."""
CHECK_S = 2.0
"""Seconds without an event after which the job itself is looked at."""
RETRY_MS = 2000
"""What an event stream's client is told to wait before it connects again."""


@router.get("/jobs/{job_id}", summary="Read a job", responses=problems(404, 410))
def read_job(job_id: JobId, services: ServicesDep) -> JobAnswer:
    """Status, progress and, once it succeeded, the latents. A failed job is a 200 answer."""
    return job_answer(services.store.read_job(job_id))


@router.get("/jobs", summary="List jobs", responses=problems(422))
def list_jobs(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200, description="How many, the youngest first.")] = 50,
    status: Annotated[JobStatus | None, Query(description="Only those of this status.")] = None,
) -> JobList:
    """The youngest jobs first."""
    return JobList(jobs=[job_answer(record) for record in services.store.list_jobs(limit, status)])


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel a job",
    response_model=JobAnswer,
    responses={
        202: {"model": JobAnswer, "description": "It runs and stops within one step."},
        **problems(404, 410),
    },
)
def cancel_job(job_id: JobId, services: ServicesDep, response: Response) -> JobAnswer:
    """A waiting job is canceled at once, a running one within one step, a finished one stays."""
    record = services.queue.cancel(job_id)
    if not record.finished:
        response.status_code = 202
    return job_answer(record)


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: {
            "description": "Events `progress`, `preview` and, last, `terminal`, with ids.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The job is finished and nothing follows `Last-Event-ID`."},
        **problems(404, 410),
    },
)
async def follow_job(
    job_id: JobId,
    services: ServicesDep,
    last_event_id: Annotated[
        str, Header(max_length=64, description="Resume after this event.")
    ] = "0",
) -> Response:
    """Server-sent events. The stream ends after `terminal`; comments keep it alive."""
    record = await services.run(services.store.read_job, job_id)
    if record.finished and last_event_id != "0":
        left = await services.run(services.store.events, job_id, last_event_id, count=1)
        if not left:
            return Response(status_code=204)
    return StreamingResponse(
        _stream(services, job_id, last_event_id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(services: Services, job_id: str, after: str) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    spoken_s = checked_s = time.monotonic()
    while not services.readiness.draining:
        events = await _next_events(services, job_id, after)
        now_s = time.monotonic()
        for event in events:
            yield event_text(event)
            after, spoken_s, checked_s = event.id, now_s, now_s
            if event.name == "terminal":
                return
        if now_s - checked_s >= CHECK_S:
            checked_s = now_s
            end = await _end_without_event(services, job_id, after)
            if end is not None:
                yield end
                return
        if now_s - spoken_s >= services.settings.heartbeat_event_s:
            spoken_s = now_s
            yield b": still here\n\n"
        await asyncio.sleep(POLL_S)


async def _next_events(services: Services, job_id: str, after: str) -> list[Event]:
    """What follows; nothing while Redis is away, so that a restart does not end the stream."""
    try:
        return await services.run(services.store.events, job_id, after)
    except REDIS_DOWN:
        await asyncio.sleep(1.0)
        return []


async def _end_without_event(services: Services, job_id: str, after: str) -> bytes | None:
    """A terminal event for a finished job whose own events have expired."""
    try:
        record = await services.run(services.store.read_job, job_id)
    except REDIS_DOWN:
        return None
    except LookupError:
        return _event_text("terminal", {"status": "expired", "error": None})
    if not record.finished or await _next_events(services, job_id, after):
        return None
    error = failure_problem(record.error).model_dump() if record.error else None
    return _event_text("terminal", {"status": record.status, "error": error})


def event_text(event: Event) -> bytes:
    """One event as it goes over the wire; a failure has the shape of every other error."""
    content = dict(event.data)
    if content.get("error"):
        failure = Failure.model_validate(content["error"])
        content["error"] = failure_problem(failure).model_dump()
    return _event_text(event.name, content, event.id)


def _event_text(name: str, content: object, event_id: str | None = None) -> bytes:
    line = f"id: {event_id}\n" if event_id else ""
    return f"{line}event: {name}\ndata: {json.dumps(content)}\n\n".encode()

"""Store records -> answers: adds links, and problem types to failures."""

from __future__ import annotations

from typing import Any

from ni_core.latents import Latent
from service.problems import problem_type
from service.schemas import (
    JobAnswer,
    JobLinks,
    LatentAnswer,
    LatentLinks,
    LatentWithValues,
    Problem,
    ResultAnswer,
)
from worker.contracts import Failure, JobRecord, LatentRecord


def latent_links(latent_id: str) -> LatentLinks:
    return LatentLinks(self=f"/latents/{latent_id}", image=f"/latents/{latent_id}/image")


def latent_answer(record: LatentRecord) -> LatentAnswer:
    return LatentAnswer(**record.model_dump(), links=latent_links(record.id))


def latent_with_values(record: LatentRecord, latent: Latent) -> LatentWithValues:
    return LatentWithValues(
        **record.model_dump(), links=latent_links(record.id), values=latent.tensor.tolist()
    )


def job_answer(record: JobRecord) -> JobAnswer:
    """A job as its caller sees it."""
    kept: dict[str, Any] = record.model_dump(exclude={"request", "result", "error", "digest"})
    result = record.result
    return JobAnswer(
        **kept,
        request=record.request.model_dump(mode="json", exclude={"generator"}),
        result=result
        and ResultAnswer(
            latents=[latent_answer(latent) for latent in result.latents],
            what_was_done=result.what_was_done.model_dump(mode="json"),
            history=[list(losses) for losses in result.history],
        ),
        error=record.error and failure_problem(record.error),
        links=JobLinks(self=f"/jobs/{record.id}", events=f"/jobs/{record.id}/events"),
    )


def failure_problem(failure: Failure) -> Problem:
    """A failed job's error in the shape of every other error."""
    row = problem_type(failure.code)
    members = {
        **failure.details,
        "type": row.uri,
        "title": row.title,
        "status": row.status,
        "detail": failure.message,
    }
    return Problem.model_validate(members)

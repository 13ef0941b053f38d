"""Redis hashes as records, and back."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from ni_core.latents import Latent
from worker.contracts import (
    Failure,
    InversionRequest,
    JobRecord,
    JobResult,
    JobStatus,
    LatentRecord,
    Progress,
)


def new_id() -> str:
    """Make an id that nobody can guess: 128 random bits in hex."""
    return secrets.token_hex(16)


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)


def later(seconds: float, start: datetime | None = None) -> datetime:
    """Return the time some seconds after `start`, or after now."""
    return (start or utc_now()) + timedelta(seconds=seconds)


def text_fields(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    """Decode a hash that holds only text."""
    return {name.decode(): value.decode() for name, value in raw.items()}


def latent_record(
    latent: Latent,
    *,
    model: str,
    method: str,
    ttl_s: float,
    source: str | None = None,
    metrics: Mapping[str, object] | None = None,
) -> LatentRecord:
    """Describe a latent under a new id; `ttl_s` counts from now."""
    now = utc_now()
    return LatentRecord.model_validate(
        {
            "id": new_id(),
            "model": model,
            "generator": latent.generator,
            "method": method,
            "space": latent.space,
            "shape": tuple(latent.tensor.shape),
            "metrics": dict(metrics) if metrics is not None else None,
            "source": source,
            "created_at": now,
            "expires_at": later(ttl_s, now),
        }
    )


def job_record(fields: Mapping[str, str], position: int | None) -> JobRecord:
    """Read a job's hash; a succeeded job whose latents have all expired reads as expired."""
    result = JobResult.model_validate_json(fields["result"]) if "result" in fields else None
    status = fields["status"]
    if result and all(latent.expires_at <= utc_now() for latent in result.latents):
        status, result = "expired", None
    return JobRecord(
        id=fields["id"],
        status=_status(status),
        progress=_progress(fields),
        queue_position=position if status == "queued" else None,
        request=InversionRequest.model_validate_json(fields["request"]),
        result=result,
        error=Failure.model_validate_json(fields["error"]) if "error" in fields else None,
        attempts=int(fields["attempts"]),
        cancel_requested="cancel" in fields,
        digest=fields["digest"],
        created_at=datetime.fromisoformat(fields["created_at"]),
        started_at=_time(fields, "started_at"),
        finished_at=_time(fields, "finished_at"),
        expires_at=datetime.fromisoformat(fields["expires_at"]),
    )


def progress_fields(progress: Progress) -> dict[str, str]:
    """Write progress as hash fields; what is None stays out."""
    return {name: repr(value) for name, value in progress.model_dump().items() if value is not None}


def _progress(fields: Mapping[str, str]) -> Progress:
    return Progress.model_validate_strings(
        {name: fields[name] for name in Progress.model_fields if name in fields}
    )


def _status(text: str) -> JobStatus:
    known: tuple[JobStatus, ...] = (
        "queued",
        "running",
        "succeeded",
        "failed",
        "canceled",
        "expired",
    )
    return next(status for status in known if status == text)


def _time(fields: Mapping[str, str], name: str) -> datetime | None:
    return datetime.fromisoformat(fields[name]) if name in fields else None

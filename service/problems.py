"""Every error answer, from one table: RFC 9457 `application/problem+json`.

A domain error's `code` is the slug of its problem type; `GET /problems/{slug}` says what it
means. Failed jobs carry the same slugs, although a failed job is not a failed request.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ni_core.errors import NiError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_REDIS_S = 2
"""What a client is told to wait, in seconds, while Redis does not answer."""
MAX_ECHO = 200
"""Characters of an offending value that an answer repeats."""

logger = logging.getLogger("service")


@dataclass(frozen=True)
class ProblemType:
    """One row of the table."""

    slug: str
    status: int
    title: str

    @property
    def uri(self) -> str:
        return f"/problems/{self.slug}"


_ROWS = (
    # What was sent
    ("malformed-body", 400, "The body cannot be read in the format it says it has"),
    ("invalid-request", 422, "The request has wrong fields"),
    ("invalid-field", 422, "A field is unknown, missing, of the wrong type or out of range"),
    ("invalid-input", 422, "The input cannot be used"),
    ("invalid-image", 422, "The bytes are not a picture this service reads"),
    ("image-too-large", 413, "The picture has more pixels than the limit"),
    ("body-too-large", 413, "The body is longer than the limit"),
    ("invalid-latent", 422, "The latent has the wrong shape, type or format"),
    ("invalid-layers", 422, "The layers text cannot be read or names rows that are not there"),
    ("invalid-weight", 422, "A slider weight is not finite or beyond the limit"),
    ("invalid-option", 422, "An option is unknown, of the wrong type or out of range"),
    ("space-not-available", 422, "The generator has no such latent space"),
    ("unsupported-media-type", 415, "The body's media type is not read here"),
    ("not-acceptable", 406, "None of the accepted media types can be written"),
    ("unauthorized", 401, "An API key is needed"),
    # What was named
    ("not-found", 404, "There is nothing here"),
    ("unknown-model", 404, "No model has this name"),
    ("unknown-method", 404, "No method of this model has this name"),
    ("unknown-direction", 404, "No direction has this id or index"),
    ("gone", 410, "It was here and has expired or was deleted"),
    ("method-not-allowed", 405, "This address does not take this method"),
    ("conflict", 409, "The state of the resource does not allow this"),
    ("generator-mismatch", 409, "The latent belongs to another generator"),
    # What is the matter with us
    ("queue-full", 503, "The queue of inversions is full"),
    ("busy", 503, "Too many edits are waiting"),
    ("store-unavailable", 503, "The store does not answer"),
    ("model-error", 500, "The model's files are at fault"),
    ("broken-bundle", 500, "The model's files cannot be read"),
    ("unreadable-checkpoint", 500, "A checkpoint of another system cannot be read"),
    ("unsafe-checkpoint", 500, "A checkpoint would have to run code to be read"),
    ("http-error", 400, "The request was refused"),
    ("internal", 500, "Something went wrong in the service"),
    # Why a job failed
    ("inversion-diverged", 422, "The descent left the finite numbers"),
    ("internal-error", 500, "The job failed for a reason that is not the request's"),
    ("out-of-memory", 507, "The device has too little free memory for this job"),
    ("worker-lost", 500, "The worker died, as often as tries are allowed"),
    ("time-limit", 504, "The job ran longer than its time limit"),
)

PROBLEM_TYPES = {slug: ProblemType(slug, status, title) for slug, status, title in _ROWS}

_SLUG_OF_STATUS = {404: "not-found", 405: "method-not-allowed", 400: "malformed-body"}


def problem_type(slug: str) -> ProblemType:
    """Return the row of a slug, the row `internal` for one that is not in the table."""
    return PROBLEM_TYPES.get(slug, PROBLEM_TYPES["internal"])


def problem_response(
    slug: str,
    detail: str,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """Build a problem answer; `members` are its extension members."""
    row = problem_type(slug)
    status = status or row.status
    own = {"type": row.uri, "title": row.title, "status": status, "detail": detail}
    body = {**own, **json_safe(dict(members or {})), **own}
    content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(content, status, headers, MEDIA_TYPE)


def json_safe(value: Any) -> Any:
    """Make a value fit for strict JSON, and short: an answer does not echo a body."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= MAX_ECHO else value[:MAX_ECHO] + "…"
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value[:MAX_ECHO]]
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in list(value.items())[:MAX_ECHO]}
    return json_safe(str(value))


def install_handlers(app: FastAPI) -> None:
    """Translate every error that leaves a route."""
    app.add_exception_handler(NiError, _domain_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RedisError, _store_error)


def domain_problem(error: NiError) -> Response:
    """The answer to a domain error."""
    row = problem_type(error.code)
    headers = dict(getattr(error, "headers", None) or {})
    retry_after = getattr(error, "retry_after_s", None)
    if isinstance(retry_after, int | float):
        headers["Retry-After"] = str(math.ceil(retry_after))
    if row.status >= 500 and row.slug not in ("queue-full", "busy"):
        logger.error("%s: %s", error.code, error)
    return problem_response(row.slug, str(error), headers=headers, members=error.details)


async def _domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, NiError)
    return domain_problem(error)


async def _store_error(request: Request, error: Exception) -> Response:
    return store_problem(error)


def store_problem(error: Exception) -> Response:
    """The answer while Redis is away; it names no address."""
    logger.warning("store: %s", error)
    return problem_response(
        "store-unavailable",
        f"the store does not answer; try again in {RETRY_AFTER_REDIS_S} s",
        headers={"Retry-After": str(RETRY_AFTER_REDIS_S)},
        members={"retry_after_s": RETRY_AFTER_REDIS_S},
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    slug = _SLUG_OF_STATUS.get(status, "http-error")
    detail = str(error.detail)
    if status == 404:
        detail = f"there is nothing at {json_safe(request.url.path)}"
    elif status == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not taken here: {allowed}"
    return problem_response(slug, detail, status=status, headers=error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_field_problem(item) for item in error.errors()]
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", first["msg"])
        return problem_response(
            "malformed-body", f"the body is not JSON: {reason} at character {first['loc'][-1]}"
        )
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in problems[:5])
    return problem_response("invalid-field", detail, members={**problems[0], "errors": problems})


_LIMITS = ("ge", "gt", "le", "lt", "max_length", "min_length", "expected", "pattern")


def _field_problem(item: Mapping[str, Any]) -> dict[str, Any]:
    where = item["loc"]
    field = ".".join(str(part) for part in where[1:]) or str(where[0])
    context = item.get("ctx", {})
    found: dict[str, Any] = {"field": field, "message": item["msg"]}
    if item["type"] != "missing":
        found["value"] = json_safe(item.get("input"))
        found["message"] += f", not {_shown(item.get('input'))}"
    for name in _LIMITS:
        if name in context:
            found["limit"] = json_safe(context[name])
    return found


def _shown(value: Any) -> str:
    text = json.dumps(json_safe(value), ensure_ascii=False)
    return text if len(text) <= MAX_ECHO else text[:MAX_ECHO] + "…"

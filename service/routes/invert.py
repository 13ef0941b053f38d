"""A picture in, a job out."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from ni_core.errors import SpaceNotAvailableError
from ni_core.images import decode_image, encode_image, fit
from ni_core.inversion import parse_options, require_possible, resolve_method
from service.answers import problems
from service.dependencies import Services, ServicesDep
from service.invert_body import REQUEST_BODY
from service.preferences import preferred_wait_s
from service.schemas import JobAnswer
from service.uploads import Upload, read_upload
from service.views import job_answer
from worker.contracts import InversionRequest, JobRecord
from worker.store import image_id

router = APIRouter(tags=["invert"])

FIRST_LOOK_S = 0.05
LOOK_GROWTH = 1.25
LONGEST_LOOK_S = 0.25
"""Seconds between two looks at a job somebody waits for, where its end was not heard of."""
RETRY_AFTER_S = 1
"""What a client that polls is told to wait, in seconds."""


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


HEADERS = {
    "Location": _header("The job."),
    "Retry-After": _header("Seconds to wait before looking at the job.", "integer"),
    "Preference-Applied": _header("The wait that was granted."),
}


@router.post(
    "/invert",
    status_code=202,
    summary="Invert pictures",
    response_model=JobAnswer,
    responses={
        200: {
            "model": JobAnswer,
            "description": "Done: known already, or waited for.",
            "headers": {name: HEADERS[name] for name in ("Location", "Preference-Applied")},
        },
        202: {"description": "Accepted; `Location` is the job.", "headers": HEADERS},
        **problems(400, 401, 404, 413, 415, 422, 503),
    },
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def create_inversion(
    request: Request,
    services: ServicesDep,
    response: Response,
    prefer: Annotated[
        str | None, Header(max_length=200, description="`wait=N`: answer when done, within N s.")
    ] = None,
) -> JobAnswer:
    """Find the latents that regenerate the pictures; several are optimised as one batch.

    Sending the same pictures and options again is safe: it joins the job that does or did this
    work, and answers 200 at once where the latents are still stored.
    """
    upload = await read_upload(
        request,
        file_field="image",
        max_files=services.settings.max_batch_images,
        bare=("image/*", "application/octet-stream"),
    )
    record = await services.run_upload(_enqueue, services, upload)
    wait_s = preferred_wait_s(prefer, services.settings.prefer_wait_limit_s)
    if wait_s and not record.finished:
        record = await _finished(services, record, wait_s)
        response.headers["Preference-Applied"] = f"wait={wait_s:g}"
    response.headers["Location"] = f"/jobs/{record.id}"
    if record.finished:
        response.status_code = 200
    else:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return job_answer(record)


def _enqueue(services: Services, upload: Upload) -> JobRecord:
    """Check the cheap things first, then decode: a worker never sees a bad picture."""
    fields = dict(upload.fields)
    name = fields.pop("model", "") or services.settings.default_model
    summary = services.models.summary(name)
    method = resolve_method(fields.pop("method", "auto"), summary)
    options = parse_options(method, fields)
    require_possible(method, options, summary)
    if options.space is not None:
        _require_space(options.space, summary["spaces"], name)
    files = [_normalised(services, data, summary["resolution"]) for data in upload.files]
    pictures = {image_id(file): file for file in files}
    return services.queue.enqueue(
        InversionRequest(
            model=name,
            generator=summary["fingerprint"],
            version=summary["version"],
            method=method,
            options=asdict(options),
            images=tuple(image_id(file) for file in files),
        ),
        pictures,
    )


def _normalised(services: Services, data: bytes, resolution: int) -> bytes:
    """The picture as the worker gets it: upright RGB at the model's size, PNG."""
    image = decode_image(data, max_pixels=services.settings.max_image_px, short_side=resolution)
    return encode_image(fit(image, resolution), "png")


def _require_space(space: str, available: list[str], model: str) -> None:
    if space not in available:
        raise SpaceNotAvailableError(
            f"space {space!r} is not one of those of {model}: {', '.join(available)}",
            value=space,
            limit=available,
        )


async def _finished(services: Services, record: JobRecord, wait_s: float) -> JobRecord:
    """The job once it is finished, or as it is when the time is over. Holds no thread."""
    deadline_s = time.monotonic() + wait_s
    pause_s = FIRST_LOOK_S
    while not record.finished and not services.readiness.draining:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            break
        heard = await services.finishes.wait(record.id, min(pause_s, left_s))
        pause_s = min(pause_s * LOOK_GROWTH, LONGEST_LOOK_S)
        if heard is not None:
            return heard
        record = await services.run(services.store.read_job, record.id)
    return record

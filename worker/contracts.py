"""Shapes of what crosses between service, store and worker. Redis holds these as JSON."""

import hashlib
import json
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

JobStatus = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
TERMINAL: frozenset[JobStatus] = frozenset({"succeeded", "failed", "canceled", "expired"})

EventName = Literal["progress", "preview", "terminal"]


class Contract(BaseModel):
    """Immutable, and strict about unknown fields: a typo is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Progress(Contract):
    """How far a job is. `step` counts finished steps; `loss` is the batch's mean."""

    step: int = 0
    steps: int | None = None
    loss: float | None = None
    eta_s: float | None = None


class InversionRequest(Contract):
    """One inversion of a batch of pictures that are already in the store.

    Attributes:
        model: Name of the bundle.
        generator: Fingerprint of the bundle's generator. With the version it is part of the
            digest, so that a changed bundle is never answered from old latents.
        version: Of the bundle: counts up when its other networks change.
        method: A resolved name of `ni_core.inversion.METHODS`, or "auto".
        options: What `ni_core.inversion.parse_options` accepts. Give it with the defaults
            filled in, and equal requests are found again however they were written.
        images: Ids from `Store.put_image`, in the order of the result.
    """

    model: str
    generator: str
    version: int = 1
    method: str = "auto"
    options: dict[str, JsonValue] = Field(default_factory=dict)
    images: tuple[str, ...] = Field(min_length=1)

    def digest(self) -> str:
        """Name this work: equal requests have equal digests."""
        canonical = json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


class Failure(Contract):
    """Why a job failed. Safe to show; tracebacks stay in the worker's log."""

    code: str
    message: str
    details: dict[str, JsonValue] = Field(default_factory=dict)


class LatentRecord(Contract):
    """A stored latent, without its numbers.

    Attributes:
        generator: Fingerprint of the generator the latent belongs to.
        method: How it came to be: an inversion method, "sample", "upload" or "edit".
        space: z, w or w+.
        source: Id of the picture it was inverted from.
    """

    id: str
    model: str
    generator: str
    method: str
    space: str
    shape: tuple[int, ...]
    metrics: dict[str, JsonValue] | None = None
    source: str | None = None
    created_at: datetime
    expires_at: datetime


class WhatWasDone(Contract):
    """How a result came about; `steps` counts all attempts, `seconds` the last one."""

    method: str
    options: dict[str, JsonValue]
    steps: int
    stopped: str
    seconds: float
    resumed_from_step: int = 0
    device: str


class JobResult(Contract):
    """What a succeeded job leaves: one latent per picture, in the order of the request.

    `history` holds the loss of every picture over the steps, thinned to at most 256 points.
    """

    latents: tuple[LatentRecord, ...]
    what_was_done: WhatWasDone
    history: tuple[tuple[float, ...], ...] = ()


class JobRecord(Contract):
    """The truth about a job. RQ carries only its id.

    Attributes:
        queue_position: 1 is next; None unless queued.
        attempts: Workers that took the job so far.
        cancel_requested: A cancel is under way; the worker sees it at its next step.
        expires_at: When this record goes; its latents go earlier, at their own times.
    """

    id: str
    kind: Literal["inversion"] = "inversion"
    status: JobStatus
    progress: Progress = Progress()
    queue_position: int | None = None
    request: InversionRequest
    result: JobResult | None = None
    error: Failure | None = None
    attempts: int = 0
    cancel_requested: bool = False
    digest: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime

    @property
    def finished(self) -> bool:
        """Whether the status can no longer change (but for expiry)."""
        return self.status in TERMINAL


class Event(Contract):
    """One entry of a job's event stream.

    Attributes:
        id: Grows along the stream; what `Last-Event-ID` carries ("1732230000000-0").
        data: By name:
            progress: {step, steps, loss, eta_s}
            preview: {step, media_type, images: [base64 of at most 4 small pictures]}
            terminal: {status, error: {code, message, details} | null}
    """

    id: str
    name: EventName
    data: dict[str, JsonValue]


class WorkerRecord(Contract):
    """A worker that gave a sign of life within `heartbeat_timeout_s`.

    Attributes:
        state: starting (loads its first bundles), idle or busy.
        models: Names of the bundles it holds.
        model_loads: Bundles it loaded since it started.
    """

    name: str
    host: str
    pid: int
    state: Literal["starting", "idle", "busy"]
    device: str
    models: tuple[str, ...] = ()
    model_loads: int = 0
    cache_bytes: int = 0
    job: str | None = None
    started_at: datetime
    heartbeat_at: datetime


class Counts(Contract):
    """What the store can say about load, for readiness and metrics.

    Attributes:
        finished: Jobs since the store began, by terminal status.
        job_seconds: Time workers spent on finished jobs, all together.
    """

    queued: int
    running: int
    workers: int
    finished: dict[str, int]
    job_seconds: float

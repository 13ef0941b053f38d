"""What RQ runs. A task gets an id; models, store and limits come from the worker around it."""

from __future__ import annotations

import dataclasses
import faulthandler
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

import torch

from ni_core.bundles import Bundle, ModelCache
from ni_core.errors import GeneratorMismatchError
from ni_core.images import decode_image, fit
from ni_core.inversion import (
    InversionResult,
    MethodOptions,
    StopOptions,
    invert,
    parse_options,
    resolve_method,
)
from worker.alarms import alarms
from worker.connection import REDIS_DOWN, patiently
from worker.contracts import InversionRequest, JobResult, WhatWasDone
from worker.failures import failure_of, over_time
from worker.lease import (
    Canceled,
    Checkpoint,
    HandedBack,
    Lease,
    LostLease,
    RedisLost,
    StopInversion,
    TimeLimitExceeded,
    new_token,
)
from worker.queue import JobQueue
from worker.records import latent_record
from worker.reporter import StepReporter

log = logging.getLogger(__name__)

Options = TypeVar("Options", bound=MethodOptions)

HISTORY_POINTS = 256
"""Most points of a loss curve that a result keeps, per picture."""

GOODBYE_PATIENCE_S = 5.0
"""Seconds a worker that was asked to end tries to reach Redis to hand its job back."""

HUNG_EXIT_CODE = 70
"""Exit code of a worker that ends itself because a step never returned."""


@dataclass(frozen=True)
class Surroundings:
    """What a task needs of the worker process it runs in.

    Attributes:
        stopping: Whether the worker was asked to end.
        alive: Called often; says that the worker lives.
    """

    queue: JobQueue
    models: ModelCache
    worker: str
    stopping: Callable[[], bool]
    alive: Callable[[], None]

    def patience_s(self) -> float:
        """Seconds to wait for Redis; few once the worker was asked to end."""
        if self.stopping():
            return GOODBYE_PATIENCE_S
        return self.queue.store.settings.redis_patience_s


surroundings: ContextVar[Surroundings] = ContextVar("surroundings")
"""Set by `InferenceWorker` around every task."""


def run_inversion(job_id: str) -> None:
    """Run one attempt at a job. Never raises for what is wrong with the job itself."""
    around = surroundings.get()
    store, token = around.queue.store, new_token()
    lease = patiently(lambda: Lease.claim(store, job_id, around.worker, token), around.patience_s)
    if lease is None:
        log.info("job %s is not waiting any more", job_id)
        return
    log.info("job %s: attempt %d", job_id, lease.attempt)
    attempt = _Attempt(lease, around)
    with hard_limit(lease):
        try:
            outcome = attempt.run()
        except (LostLease, RedisLost, *REDIS_DOWN) as problem:
            outcome = f"left to others ({type(problem).__name__})"
    log.info("job %s: %s after %.2f s", job_id, outcome, attempt.reporter.seconds)


class _Attempt:
    """One attempt at one job, from claim to a state that Redis knows."""

    def __init__(self, lease: Lease, around: Surroundings) -> None:
        self.lease = lease
        self.around = around
        self.settings = around.queue.store.settings
        self.reporter = StepReporter(lease, stopping=around.stopping, alive=around.alive)

    def run(self) -> str:
        """Do the work and close the job; return what became of it."""
        lease, patience_s = self.lease, self.around.patience_s
        try:
            return self._invert()
        except HandedBack:
            return self._hand_back()
        except Canceled:
            return patiently(lambda: lease.cancel(self.reporter.seconds), patience_s)
        except TimeLimitExceeded:
            failure = over_time(self.settings)
        except REDIS_DOWN:
            raise
        except Exception as error:
            log.exception("job %s failed", lease.job_id)
            failure = failure_of(error, lease.job_id)
        return patiently(lambda: lease.fail(failure, self.reporter.seconds), patience_s)

    def _invert(self) -> str:
        lease, store = self.lease, self.lease.store
        patience_s = self.around.patience_s
        request = lease.request()
        saved = patiently(lease.checkpoint, patience_s) if lease.resumable else None
        with lease.kept_alive(self.around.alive):
            bundle = self._load(request)
            pictures = patiently(lambda: store.get_images(request.images), patience_s)
            images = _decode(pictures, bundle)
        if self.around.stopping():
            raise HandedBack(lease.job_id)
        method = resolve_method(request.method, bundle)
        options = parse_options(method, request.options)
        if saved is not None:
            options = rest_of(options, saved)
            self.reporter.resume(saved)
        self.reporter.ends_at_once = options.metrics == "none"
        done = invert(
            bundle,
            images,
            method=method,
            options=options,
            on_step=self.reporter,
            start=saved.latents.to(bundle.device) if saved is not None else None,
            first_step=saved.step if saved is not None else 0,
        )
        result = self._describe(request, done, saved, str(bundle.device))
        seconds, untold = self.reporter.seconds, self.reporter.untold
        return patiently(lambda: lease.succeed(result, done.latents, seconds, untold), patience_s)

    def _load(self, request: InversionRequest) -> Bundle:
        bundle = self.around.models.get(request.model)
        if bundle.generator.fingerprint != request.generator:
            raise GeneratorMismatchError(
                f"{request.model} has generator {bundle.generator.fingerprint} in this worker, "
                f"and the job asks for {request.generator}",
                value=bundle.generator.fingerprint,
                limit=request.generator,
            )
        return bundle

    def _describe(
        self,
        request: InversionRequest,
        done: InversionResult,
        saved: Checkpoint | None,
        device: str,
    ) -> JobResult:
        records = [
            latent_record(
                latent,
                model=request.model,
                method=done.method,
                ttl_s=self.settings.latent_ttl_s,
                source=source,
                metrics=metrics,
            )
            for latent, source, metrics in zip(
                done.latents,
                request.images,
                done.metrics or repeat(None),
                strict=bool(done.metrics),
            )
        ]
        what = WhatWasDone(
            method=done.method,
            options=request.options,
            steps=done.steps,
            stopped=done.stopped,
            seconds=done.seconds,
            resumed_from_step=saved.step if saved is not None else 0,
            device=device,
        )
        return JobResult(
            latents=tuple(records),
            what_was_done=what,
            history=tuple(thin(losses) for losses in done.history),
        )

    def _hand_back(self) -> str:
        lease, last = self.lease, self.reporter.last

        def give() -> str:
            if last is not None:
                lease.save(last)
            outcome = lease.hand_back()
            if outcome == "queued":
                self.around.queue.push(lease.job_id, lease.attempt + 1, at_front=True)
            return outcome

        return patiently(give, self.around.patience_s)


def _decode(pictures: Sequence[bytes], bundle: Bundle) -> torch.Tensor:
    generator = bundle.generator
    images = [fit(decode_image(picture), generator.resolution) for picture in pictures]
    return torch.stack(images).to(bundle.device)


def rest_of(options: Options, saved: Checkpoint) -> Options:
    """Take the time that is already spent out of the budget."""
    if not isinstance(options, StopOptions) or options.budget_seconds is None:
        return options
    left = max(options.budget_seconds - saved.seconds, 0.001)
    return dataclasses.replace(options, budget_seconds=left)


def thin(losses: Sequence[float]) -> tuple[float, ...]:
    """Keep at most `HISTORY_POINTS` values, evenly spread, with the first and the last."""
    count = len(losses)
    if count <= HISTORY_POINTS:
        return tuple(losses)
    last = HISTORY_POINTS - 1
    return tuple(losses[round(point * (count - 1) / last)] for point in range(HISTORY_POINTS))


@contextmanager
def hard_limit(lease: Lease, end_process: Callable[[int], object] = os._exit) -> Iterator[None]:
    """End the process when a step hangs in native code, where no exception can reach it."""
    settings = lease.store.settings

    def end() -> None:
        log.critical("job %s hangs; this worker ends itself", lease.job_id)
        faulthandler.dump_traceback()
        try:
            lease.fail(over_time(settings), settings.job_time_limit_s)
        except (StopInversion, *REDIS_DOWN) as problem:
            log.error("job %s could not be closed: %r", lease.job_id, problem)
        end_process(HUNG_EXIT_CODE)

    with alarms.after(settings.job_time_limit_s + settings.hard_limit_grace_s, end):
        yield

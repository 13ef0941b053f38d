"""The process that holds the models and runs the jobs, one after the other."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from types import FrameType
from typing import Literal

from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from ni_core.bundles import ModelCache
from ni_core.errors import NiError
from worker.connection import REDIS_DOWN, wait_for_redis
from worker.contracts import WorkerRecord
from worker.queue import JobQueue, job_of
from worker.records import new_id, utc_now
from worker.reporter import Rate
from worker.tasks import Surroundings, run_inversion, surroundings
from worker.watchdog import Watchdog

log = logging.getLogger(__name__)

POLL_S = 1
"""Longest wait for a job before the worker looks whether it was asked to end."""

RQ_HEARTBEAT_S = 15.0
"""Seconds between two signs of life for RQ."""

SHORT_JOB_S = 0.05
"""Seconds after which a worker says that it is busy: to say so may cost more than a short job."""

State = Literal["starting", "idle", "busy"]


class InferenceWorker(SimpleWorker):
    """RQ's worker without a fork, so that models stay warm and CUDA stays usable.

    What RQ's fork gave is put back: a job's heartbeat, cancel and time limit come from its
    step callback (`worker.reporter`), and a worker that dies is noticed by `worker.watchdog`.
    So RQ's own notes of what runs are not written: our record of the job says it, and they cost
    more than an encoder's pass. RQ knows this worker, its signs of life and what waits.
    A signal to end takes effect within one step: the job goes back to the queue with its last
    latent. Redis may go away and come back at any time.
    """

    def __init__(self, queue: JobQueue, models: ModelCache, device: str) -> None:
        self.jobs = queue
        self.models = models
        self.device = device
        self.store = queue.store
        self.settings = queue.store.settings
        host = socket.gethostname()
        super().__init__(
            [queue.rq],
            name=f"{host}-{os.getpid()}-{new_id()[:8]}",
            connection=queue.rq.connection,
            serializer=JSONSerializer,
            worker_ttl=int(self.settings.heartbeat_timeout_s) + 60,
            log_job_description=False,
            prepare_for_work=False,  # needs a Redis that answers; this one may come later
        )
        self.hostname, self.pid = host, os.getpid()
        self.started_at = utc_now()
        self.stopping = False
        self._stop_asked_at = 0.0
        self._announced: tuple[State, str | None] | None = None
        self._presence = Rate(self.settings.heartbeat_interval_s, time.monotonic())
        self._rq_heartbeat = Rate(RQ_HEARTBEAT_S, time.monotonic())
        self._current: str | None = None
        self._taken_at = 0.0

    def serve(self) -> None:
        """Load the first bundles, then take jobs until a signal asks to end."""
        signal.signal(signal.SIGTERM, self.request_stop)
        signal.signal(signal.SIGINT, self.request_stop)
        if not wait_for_redis(self.connection, lambda: self.stopping):
            return
        watchdog = Watchdog(self.jobs)
        watchdog.start()
        try:
            self._start()
            while not self.stopping:
                self._serve_once()
        finally:
            watchdog.stop()
            self._leave()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """End after the present step; a second signal, a second later, ends at once."""
        now = time.monotonic()
        if not self.stopping:
            log.info("%s: ending", signal.Signals(signum).name)
            self.stopping, self._stop_asked_at = True, now
        elif now - self._stop_asked_at > 1.0:
            os._exit(128 + signum)

    def perform(self, rq_id: str) -> None:
        """Run what RQ calls so with this worker's surroundings: our task, whatever is queued."""
        job_id = job_of(rq_id)
        if job_id is None:
            log.error("%r is not a task of this worker", rq_id)
        else:
            self._run(job_id)
        self.jobs.forget(rq_id)

    def _run(self, job_id: str) -> None:
        self._current, self._taken_at = job_id, time.monotonic()
        around = Surroundings(self.jobs, self.models, self.name, lambda: self.stopping, self._alive)
        reset = surroundings.set(around)
        try:
            run_inversion(job_id)
        finally:
            surroundings.reset(reset)
            self._current = None

    def _set_connection(self, connection: Redis) -> Redis:
        return connection  # RQ would stretch its timeout to minutes

    def announce(self, state: State, job: str | None = None) -> None:
        """Say what this worker is doing: at once when that changed, else now and then."""
        changed = self._announced != (state, job)
        if not changed and not self._presence.due(time.monotonic()):
            return
        self._announced = (state, job)
        self.store.put_worker(
            WorkerRecord(
                name=self.name,
                host=self.hostname or "",
                pid=self.pid or 0,
                state=state,
                device=self.device,
                models=tuple(self.models.loaded()),
                model_loads=self.models.loads,
                cache_bytes=self.models.nbytes,
                job=job,
                started_at=self.started_at,
                heartbeat_at=utc_now(),
            )
        )

    def _alive(self) -> None:
        job_id, now = self._current, time.monotonic()
        if job_id is None or now - self._taken_at < SHORT_JOB_S:
            return
        self.announce("busy", job_id)
        if self._rq_heartbeat.due(now):
            self.heartbeat()

    def _start(self) -> None:
        self.register_birth()  # type: ignore[no-untyped-call]
        self.announce("starting")
        for name in self.settings.preload:
            if self.stopping:
                return
            try:
                self.models.get(name)
            except NiError as problem:
                log.error("cannot preload %s: %s", name, problem)
        log.info("worker %s is ready on %s", self.name, self.device)

    def _serve_once(self) -> None:
        """Wait for a job and run it; what goes wrong here must not cost the warm models."""
        try:
            self.announce("idle")
            if self.should_run_maintenance_tasks:
                self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
            rq_id = self.jobs.take(POLL_S)
            if rq_id is not None:
                self.perform(rq_id)
            if self._rq_heartbeat.due(time.monotonic()):
                self.heartbeat()
        except REDIS_DOWN as problem:
            log.warning("Redis does not answer: %s", problem)
            wait_for_redis(self.connection, lambda: self.stopping)
        except Exception:
            log.exception("a job could not be taken from the queue or tidied up after")
            time.sleep(1.0)

    def _leave(self) -> None:
        try:
            self.store.drop_worker(self.name)
            self.register_death()  # type: ignore[no-untyped-call]
        except REDIS_DOWN as problem:
            log.warning("left without a goodbye to Redis: %s", problem)

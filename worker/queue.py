"""The way from a request to a waiting worker, and the way out. RQ carries ids only."""

import re
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import cast

from redis import Redis
from rq import Queue
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now

from worker.contracts import InversionRequest, JobRecord
from worker.settings import Settings
from worker.store import Store

TASK = "worker.tasks.run_inversion"
_ATTEMPT = re.compile(r"([A-Za-z0-9_]{1,64})-[0-9]{1,9}")
FAILURE_TTL_S = 3600
"""Seconds RQ keeps its own note of a task that raised; clients never see that note."""


class JobQueue:
    """The queue of one installation; safe to share between threads.

    RQ's id of an attempt is `<job id>-<attempt>`, so that what is left of a lost attempt is
    never mistaken for the next one.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rq = rq_queue(store.redis, store.settings)

    def enqueue(
        self, request: InversionRequest, pictures: Mapping[str, bytes] = MappingProxyType({})
    ) -> JobRecord:
        """Put a job into the queue, or return the one that does or did the same work.

        Args:
            request: What is to be done.
            pictures: Those of its pictures that are not in the store yet, by `image_id`.

        Raises:
            QueueFullError: As many jobs wait as the settings allow.
        """
        return self.store.create_job(request, pictures, self._first_note)

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job: at once when it waits, within one step when it runs.

        A finished job stays as it is.
        """
        status = self.store.request_cancel(job_id)
        record = self.store.read_job(job_id)
        if status == "canceled":
            self.remove(job_id, record.attempts + 1)
        return record

    def push(self, job_id: str, attempt: int, *, at_front: bool = False) -> None:
        """Hand a queued job to RQ; doing it twice does no harm."""
        job = self._note(job_id, attempt)
        with suppress(DuplicateJobError):
            self.rq.enqueue_job(job, at_front=at_front, unique=True)

    def take(self, wait_s: int) -> str | None:
        """Take the next attempt's id from RQ; None when none came in time.

        What is taken and not claimed, because its worker dies here, is handed over again by
        `worker.watchdog`.
        """
        found = cast(tuple[bytes, bytes] | None, self.rq.connection.blpop([self.rq.key], wait_s))
        return None if found is None else found[1].decode(errors="replace")

    def forget(self, rq_id: str) -> None:
        """Delete RQ's note of an attempt that was taken."""
        self.rq.connection.delete(Job.key_for(rq_id))

    def _first_note(self, job_id: str) -> list[str | bytes]:
        """RQ's note of a new job, as `scripts.CREATE` takes it."""
        job = self._note(job_id, attempt=1)
        job.origin, job.enqueued_at = self.rq.name, now()
        fields = [
            part if isinstance(part, bytes | str) else str(part)
            for pair in job.to_dict().items()
            if pair[1] is not None
            for part in pair
        ]
        return [self.rq.key, job.key, job.id, *fields]

    def _note(self, job_id: str, attempt: int) -> Job:
        return self.rq.create_job(
            TASK,
            args=(job_id,),
            job_id=attempt_id(job_id, attempt),
            result_ttl=0,
            failure_ttl=FAILURE_TTL_S,
            ttl=self.store.settings.job_ttl_s,
            timeout=int(self.store.settings.job_time_limit_s) + 1,
            description=f"inversion {job_id}",
        )

    def remove(self, job_id: str, attempt: int) -> None:
        """Take all that RQ knows of one attempt away."""
        rq_id = attempt_id(job_id, attempt)
        try:
            job = Job.fetch(rq_id, connection=self.rq.connection, serializer=JSONSerializer)
        except NoSuchJobError:
            self.rq.remove(rq_id)
        else:
            job.delete()
        self.rq.intermediate_queue.remove(rq_id)


def attempt_id(job_id: str, attempt: int) -> str:
    """Name one attempt at a job in RQ."""
    return f"{job_id}-{attempt}"


def job_of(rq_id: str) -> str | None:
    """Return the job that an attempt's name in RQ means; None if it is no such name."""
    found = _ATTEMPT.fullmatch(rq_id)
    return None if found is None else found[1]


def rq_queue(redis: Redis, settings: Settings) -> Queue:
    """Make the RQ queue object that both ends use."""
    return Queue(settings.queue_name, connection=redis, serializer=JSONSerializer)

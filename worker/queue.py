"""The way from a request to a waiting worker, and the way out. RQ carries ids only."""

from contextlib import suppress

from redis import Redis
from rq import Queue
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from worker.contracts import InversionRequest, JobRecord
from worker.settings import Settings
from worker.store import Store

TASK = "worker.tasks.run_inversion"
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

    def enqueue(self, request: InversionRequest) -> JobRecord:
        """Put a job into the queue, or return the one that does or did the same work.

        Raises:
            QueueFullError: As many jobs wait as the settings allow.
        """
        record = self.store.create_job(request)
        if record.status == "queued" and record.attempts == 0:
            self.push(record.id, attempt=1)
        return record

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
        job = self.rq.create_job(
            TASK,
            args=(job_id,),
            job_id=attempt_id(job_id, attempt),
            result_ttl=0,
            failure_ttl=FAILURE_TTL_S,
            ttl=self.store.settings.job_ttl_s,
            timeout=int(self.store.settings.job_time_limit_s) + 1,
            description=f"inversion {job_id}",
        )
        with suppress(DuplicateJobError):
            self.rq.enqueue_job(job, at_front=at_front, unique=True)

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


def rq_queue(redis: Redis, settings: Settings) -> Queue:
    """Make the RQ queue object that both ends use."""
    return Queue(settings.queue_name, connection=redis, serializer=JSONSerializer)

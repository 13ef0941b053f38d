"""One table from what a job can raise to what its client is told."""

import torch

from ni_core.errors import NiError
from worker.contracts import Failure
from worker.settings import Settings


def failure_of(error: Exception, job_id: str) -> Failure:
    """Describe an error for the client. Only errors raised on purpose show their own text."""
    if isinstance(error, NiError):
        return Failure.model_validate(
            {"code": error.code, "message": str(error), "details": error.details}
        )
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        message = "the device has too little free memory for this job; try fewer pictures"
        return Failure(code="out-of-memory", message=message)
    message = f"the worker met an error that is not the request's; its log names job {job_id}"
    return Failure(code="internal-error", message=message)


def over_time(settings: Settings) -> Failure:
    """Describe a job that ran past its time limit."""
    limit = settings.job_time_limit_s
    return Failure(
        code="time-limit",
        message=f"the job ran longer than the limit of {limit:g} s",
        details={"limit": limit},
    )


def worker_lost(settings: Settings) -> Failure:
    """Describe a job whose workers died."""
    attempts = settings.max_attempts
    return Failure(
        code="worker-lost",
        message=f"the job lost {attempts} workers and the limit is {attempts}",
        details={"attempts": attempts, "limit": attempts},
    )

"""What can go wrong between a request and its job.

    NiError
    ├── NotFoundError
    │   ├── StoreNotFoundError   not-found    never seen that id
    │   └── StoreGoneError       gone         was here; expired or deleted
    └── QueueFullError           queue-full   too many jobs wait; retry_after_s

A failed job carries one of the codes of `ni_core.errors`, of this tree, or of
`FAILURE_CODES`.
"""

from typing import ClassVar

from ni_core.errors import NiError, NotFoundError

FAILURE_CODES: dict[str, str] = {
    "worker-lost": "The workers that took this job were lost.",
    "time-limit": "The job ran past its time limit.",
    "out-of-memory": "The device has too little free memory for this job.",
    "internal-error": "The job failed for a reason that is not the request's.",
}
"""Codes of failures that are nobody's bad input, with what they mean."""


class StoreNotFoundError(NotFoundError):
    """No latent, job or image was ever stored under this id."""

    code: ClassVar[str] = "not-found"


class StoreGoneError(NotFoundError):
    """The id was known once; it expired or was deleted."""

    code: ClassVar[str] = "gone"


class QueueFullError(NiError):
    """As many jobs wait as the settings allow."""

    code: ClassVar[str] = "queue-full"

    def __init__(self, queued: int, limit: int, retry_after_s: int) -> None:
        super().__init__(
            f"{queued} jobs wait and the limit is {limit}; try again in {retry_after_s} s",
            queued=queued,
            limit=limit,
            retry_after_s=retry_after_s,
        )
        self.retry_after_s = retry_after_s

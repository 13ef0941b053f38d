"""A worker's hold on a running job. Every write is refused once the hold is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue
from redis.commands.core import Script
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from ni_core.latents import Latent, encode_latent
from worker import scripts
from worker.alarms import alarms
from worker.connection import REDIS_DOWN
from worker.contracts import EventName, Failure, InversionRequest, JobResult, Progress
from worker.records import new_id, progress_fields
from worker.store import Store


class StopInversion(BaseException):
    """Leaves a descent on purpose. No `except Exception` on the way can swallow it."""


class Canceled(StopInversion):
    """The client asked for it."""


class HandedBack(StopInversion):
    """This worker was asked to end; another one goes on."""


class LostLease(StopInversion):
    """The job is no longer this worker's: finished, deleted or given to another one."""


class TimeLimitExceeded(StopInversion):
    """The attempt ran longer than the settings allow."""


class RedisLost(StopInversion):
    """Redis stayed out of reach longer than the settings allow."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a lost or handed-back attempt can be taken up again.

    Attributes:
        step: Steps done.
        seconds: Time spent on them.
        latents: What the descent held, `[n, ...]`.
    """

    step: int
    seconds: float
    latents: Tensor


class Lease:
    """The right to write to one running job, from `claim` until the job leaves this worker.

    Attributes:
        attempt: Number of this attempt, from 1.
        resumable: Whether an earlier attempt left a checkpoint.
    """

    def __init__(
        self,
        store: Store,
        job_id: str,
        token: str,
        attempt: int,
        *,
        resumable: bool = False,
        request: bytes = b"",
    ) -> None:
        self.store = store
        self.job_id = job_id
        self.attempt = attempt
        self.resumable = resumable
        self._request = request
        self._token = token
        self._scripts: dict[str, Script] = {}

    @classmethod
    def claim(cls, store: Store, job_id: str, worker: str, token: str) -> Lease | None:
        """Take a queued job; None when it is not to be had. Asking twice with a token is safe."""
        script = store.script(scripts.CLAIM)
        answer = cast(list[bytes], script(args=[store.job_config(job_id), token, worker]))
        if not answer:
            return None
        attempt, resumable, request = answer
        return cls(store, job_id, token, int(attempt), resumable=bool(resumable), request=request)

    def request(self) -> InversionRequest:
        """Read what is asked for, as it was when the job was claimed."""
        return InversionRequest.model_validate_json(self._request)

    def report(
        self,
        progress: Progress | None = None,
        events: Sequence[tuple[EventName, Mapping[str, JsonValue]]] = (),
    ) -> None:
        """Say that the job is alive and how far it is.

        Raises:
            LostLease: The job is not this worker's any more.
            Canceled: The client wants it to end.
        """
        fields = progress_fields(progress) if progress else {}
        pairs = [text for pair in fields.items() for text in pair]
        entries = [text for name, data in events for text in (name, json.dumps(data))]
        answer = self._call(scripts.REPORT, len(fields), *pairs, *entries)
        if answer == "cancel":
            raise Canceled(self.job_id)

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a place from which the job can be taken up again."""
        latents = checkpoint.latents.detach().to("cpu").contiguous()
        data = save_safetensors({"latents": latents})
        self._call(scripts.CHECKPOINT, checkpoint.step, repr(checkpoint.seconds), data)

    def checkpoint(self) -> Checkpoint | None:
        """Return what an earlier attempt saved last."""
        key = self.store.key("job", self.job_id, "checkpoint")
        raw = cast(dict[bytes, bytes], self.store.redis.hgetall(key))
        if not raw:
            return None
        latents = load_safetensors(raw[b"latents"])["latents"]
        return Checkpoint(int(raw[b"step"]), float(raw[b"seconds"]), latents)

    def succeed(
        self,
        result: JobResult,
        latents: Sequence[Latent],
        seconds: float,
        progress: Progress | None = None,
    ) -> str:
        """Store result and latents and end the job, all at once.

        Args:
            result: What was found; describes the latents.
            latents: One for each of the result's records.
            seconds: Time the attempt took.
            progress: Of the last step, if it was not reported.

        Returns:
            "succeeded", or "canceled" when a cancel came first.
        """
        settings = self.store.settings
        stored = [
            part
            for record, latent in zip(result.latents, latents, strict=True)
            for part in (record.id, record.model_dump_json(), encode_latent(latent))
        ]
        ids = " ".join(record.id for record in result.latents)
        until = min(record.expires_at for record in result.latents).timestamp()
        lifetimes = (settings.latent_ttl_s, settings.tombstone_ttl_s, repr(until))
        last = progress.model_dump_json() if progress is not None else ""
        return self._finish(
            "succeeded", "", result.model_dump_json(), seconds, ids, *lifetimes, last, *stored
        )

    def fail(self, failure: Failure, seconds: float) -> str:
        """End the job with the reason why; returns "failed", or "canceled" as above."""
        return self._finish("failed", failure.model_dump_json(), "", seconds, "", 1, 1, 0)

    def cancel(self, seconds: float) -> str:
        """End the job as canceled."""
        return self._finish("canceled", "", "", seconds, "", 1, 1, 0)

    def hand_back(self) -> str:
        """Put the job back into the queue; returns "queued", or "canceled" as above."""
        return self._call(scripts.HAND_BACK)

    @contextmanager
    def kept_alive(self, alive: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Give signs of life from a thread, for work that has no steps, such as loading.

        Args:
            alive: Called with each of them.
        """

        def beat() -> None:
            with suppress(StopInversion, *REDIS_DOWN):  # the next report of the descent sees it
                self.report()
                alive()

        with alarms.every(self.store.settings.heartbeat_interval_s, beat):
            yield

    def _finish(self, *arguments: str | bytes | float) -> str:
        return self._call(scripts.FINISH, *arguments)

    def _call(self, text: str, *arguments: str | bytes | float) -> str:
        if text not in self._scripts:
            self._scripts[text] = self.store.script(text)
        config = self.store.job_config(self.job_id)
        answer = self._scripts[text](args=[config, self._token, *arguments])
        decoded = cast(bytes, answer).decode()
        if decoded == "lost":
            raise LostLease(self.job_id)
        return decoded


def new_token() -> str:
    """Make the token of one claim."""
    return new_id()

"""What the installation remembers: pictures, latents, jobs and their events, all in Redis.

Every key has a lifetime. A `known:<id>` key outlives what it names, so that an id that expired
or was deleted can be told from one that never was. Only text that looks like an id reaches a
key. Every method may raise `redis.exceptions.ConnectionError` or `TimeoutError`.

    <prefix>:image:<sha256>       bytes
    <prefix>:latent:<id>          hash: record, bytes (safetensors)
    <prefix>:job:<id>             hash; the truth about a job
    <prefix>:job:<id>:events      stream
    <prefix>:job:<id>:checkpoint  hash: step, seconds, latents (safetensors)
    <prefix>:jobs|queued|running  sorted sets of job ids: by age, by age, by last heartbeat
    <prefix>:digest:<digest>      id of the job that does or did this work
    <prefix>:known:<id>           kind of what has this id, or had it
    <prefix>:worker:<name>        JSON, gone when the worker is
    <prefix>:totals               counters
    <prefix>:finished             channel; jobs as they end: id, a space, the hash as JSON
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from redis import Redis
from redis.commands.core import Script
from safetensors.torch import load as load_safetensors

from ni_core.latents import Latent, encode_latent
from worker import scripts
from worker.contracts import (
    Event,
    InversionRequest,
    JobRecord,
    JobStatus,
    LatentRecord,
)
from worker.errors import QueueFullError, StoreGoneError, StoreNotFoundError
from worker.presence import Presence
from worker.records import job_record, latent_record, later, new_id, text_fields, utc_now
from worker.settings import Settings

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EVENT_ID = re.compile(r"\d{1,15}(-\d{1,15})?")
_PAGE = 200


class Store(Presence):
    """All reads and writes of one installation; safe to share between threads."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        super().__init__(redis, settings)
        self._create = self.script(scripts.CREATE)
        self._cancel = self.script(scripts.CANCEL)

    def script(self, text: str) -> Script:
        """Prepare a script of `worker.scripts`."""
        return self.redis.register_script(text)

    def job_config(self, job_id: str) -> str:
        """Return the first argument of every script of `worker.scripts`."""
        now = utc_now()
        return json.dumps(
            {
                "id": job_id,
                "prefix": self.settings.key_prefix,
                "now": now.isoformat(),
                "expires": later(self.settings.job_ttl_s, now).isoformat(),
                "job_ttl": self.settings.job_ttl_s,
                "event_ttl": self.settings.event_ttl_s,
                "event_limit": self.settings.event_limit,
            }
        )

    def ping(self) -> None:
        """Return when Redis answers."""
        self.redis.ping()

    # pictures

    def put_image(self, data: bytes) -> str:
        """Keep a picture's bytes; the same bytes have the same id. Renews their lifetime."""
        name = image_id(data)
        pipe = self.redis.pipeline(transaction=True)
        pipe.set(self.key("image", name), data, ex=self.settings.image_ttl_s)
        pipe.set(self.key("known", name), "image", ex=self.settings.tombstone_ttl_s)
        pipe.execute()
        return name

    def get_image(self, image_id: str) -> bytes:
        """Return a picture's bytes, or raise that it is gone or was never here."""
        data = cast(bytes | None, self.redis.get(self._id_key("image", image_id)))
        if data is None:
            raise self._missing("image", image_id)
        return data

    def get_images(self, image_ids: Sequence[str]) -> list[bytes]:
        """Return the bytes of several pictures, or raise that one is gone or was never here."""
        keys = [self._id_key("image", image_id) for image_id in image_ids]
        found = cast(list[bytes | None], self.redis.mget(keys))
        for image_id, data in zip(image_ids, found, strict=True):
            if data is None:
                raise self._missing("image", image_id)
        return cast(list[bytes], found)

    # latents

    def put_latent(
        self,
        latent: Latent,
        *,
        model: str,
        method: str,
        source: str | None = None,
        metrics: Mapping[str, object] | None = None,
    ) -> LatentRecord:
        """Keep a latent and its record, both or neither, for `latent_ttl_s`."""
        ttl_s = self.settings.latent_ttl_s
        record = latent_record(
            latent, model=model, method=method, ttl_s=ttl_s, source=source, metrics=metrics
        )
        pipe = self.redis.pipeline(transaction=True)
        key = self.key("latent", record.id)
        fields = {"record": record.model_dump_json(), "bytes": encode_latent(latent)}
        pipe.hset(key, mapping=cast(Any, fields))
        pipe.expire(key, ttl_s)
        pipe.set(self.key("known", record.id), "latent", ex=self.settings.tombstone_ttl_s)
        pipe.execute()
        return record

    def get_latent(self, latent_id: str) -> tuple[LatentRecord, Latent]:
        """Return a latent with its record, or raise that it is gone or was never here."""
        raw = cast(dict[bytes, bytes], self.redis.hgetall(self._id_key("latent", latent_id)))
        if not raw:
            raise self._missing("latent", latent_id)
        record = LatentRecord.model_validate_json(raw[b"record"])
        (tensor,) = load_safetensors(raw[b"bytes"]).values()
        return record, Latent(tensor, cast(Any, record.space), record.generator)

    def read_latent(self, latent_id: str) -> LatentRecord:
        """Return a latent's record without its numbers."""
        raw = cast(bytes | None, self.redis.hget(self._id_key("latent", latent_id), "record"))
        if raw is None:
            raise self._missing("latent", latent_id)
        return LatentRecord.model_validate_json(raw)

    def delete_latent(self, latent_id: str) -> None:
        """Forget a latent at once; from now on its id is gone."""
        if not self.redis.delete(self._id_key("latent", latent_id)):
            raise self._missing("latent", latent_id)

    # jobs

    def create_job(
        self,
        request: InversionRequest,
        pictures: Mapping[str, bytes] = MappingProxyType({}),
        note: Callable[[str], Sequence[str | bytes]] = lambda _: (),
    ) -> JobRecord:
        """Record a queued job, or return the job that does or did the same work already.

        That one is queued, running, or succeeded with all its latents still here. Who wants
        the job to be run uses `worker.queue.JobQueue.enqueue`.

        Args:
            request: What is to be done.
            pictures: Those of its pictures that are not in the store yet, by `image_id`.
            note: From the job's id to RQ's note of it, as `scripts.CREATE` takes it.

        Raises:
            QueueFullError: As many jobs wait as the settings allow.
        """
        job_id, digest, now = new_id(), request.digest(), utc_now()
        fields = {
            "id": job_id,
            "request": request.model_dump_json(),
            "digest": digest,
            "created_at": now.isoformat(),
            "expires_at": later(self.settings.job_ttl_s, now).isoformat(),
        }
        settings, config, score = self.settings, self.job_config(job_id), repr(now.timestamp())
        record = [text for pair in fields.items() for text in pair]
        images = [part for pair in pictures.items() for part in pair]
        head = (config, digest, settings.queue_limit, settings.tombstone_ttl_s, score)
        counts = (settings.image_ttl_s, len(images), len(record))
        answer = self._create(args=[*head, *counts, *images, *record, *note(job_id)])
        outcome, value, *before = (part.decode() for part in cast(list[bytes], answer))
        if outcome == "full":
            limit = self.settings.queue_limit
            raise QueueFullError(int(value), limit, self._retry_after_s(int(value)))
        if outcome == "joined":
            return self.read_job(value)
        return job_record({**fields, "status": "queued", "attempts": "0"}, int(before[0]) + 1)

    def read_job(self, job_id: str) -> JobRecord:
        """Return a job's record, or raise that it is gone or was never here."""
        pipe = self.redis.pipeline(transaction=False)
        pipe.hgetall(self._id_key("job", job_id))
        pipe.zrank(self.key("queued"), job_id)
        raw, rank = pipe.execute()
        if b"id" not in raw:
            raise self._missing("job", job_id)
        return job_record(text_fields(raw), None if rank is None else int(rank) + 1)

    def queue_position(self, job_id: str) -> int | None:
        """Return how many jobs are taken before this one, plus 1; None unless it is queued."""
        return self.read_job(job_id).queue_position

    def list_jobs(self, limit: int = 50, status: JobStatus | None = None) -> list[JobRecord]:
        """Return records, youngest first, of one status or of all."""
        found: list[JobRecord] = []
        offset = 0
        while len(found) < limit:
            page = self.redis.zrevrange(self.key("jobs"), offset, offset + _PAGE - 1)
            if not page:
                break
            offset += _PAGE
            records = self._read_jobs([member.decode() for member in cast(list[bytes], page)])
            found.extend(record for record in records if status in (None, record.status))
        return found[:limit]

    def find_by_digest(self, digest: str) -> JobRecord | None:
        """Return the job that does or did this work, if its answer can still be had."""
        job_id = cast(bytes | None, self.redis.get(self._id_key("digest", digest)))
        if job_id is None:
            return None
        try:
            record = self.read_job(job_id.decode())
        except (StoreGoneError, StoreNotFoundError):
            return None
        if record.result is not None:
            keys = [self.key("latent", latent.id) for latent in record.result.latents]
            return record if self.redis.exists(*keys) == len(keys) else None
        usable = record.status in ("queued", "running") and not record.cancel_requested
        return record if usable else None

    def request_cancel(self, job_id: str) -> JobStatus:
        """Cancel a queued job now, or tell the worker of a running one; else change nothing.

        Returns:
            The status that holds now; "running" turns into "canceled" within one step.
        """
        self._id_key("job", job_id)
        status = cast(bytes, self._cancel(args=[self.job_config(job_id)])).decode()
        if not status:
            raise self._missing("job", job_id)
        return cast(JobStatus, status)

    # events

    def events_key(self, job_id: str) -> str:
        """Name a job's stream, for readers with a client of their own (XREAD)."""
        return self._id_key("job", job_id, "events")

    def events(
        self, job_id: str, after: str = "0", *, count: int = 100, block_s: float = 0.0
    ) -> list[Event]:
        """Return the events that follow an event's id, oldest first.

        Waits up to `block_s` (at most half of `redis_timeout_s`) when there are none. The
        last event of a finished job is `terminal`. Text that is no event id counts as "0".
        """
        start = after if _EVENT_ID.fullmatch(after) else "0"
        wait_s = min(block_s, self.settings.redis_timeout_s / 2)
        block = int(wait_s * 1000) or None
        reply = self.redis.xread({self.events_key(job_id): start}, count=count, block=block)
        return parse_events(cast(Any, reply))

    def _retry_after_s(self, queued: int) -> int:
        """Guess when a place is free: the mean time of a job, shared by the workers."""
        counts = self.counts()
        mean_s = counts.job_seconds / max(sum(counts.finished.values()), 1)
        return max(1, min(120, round(mean_s / max(counts.workers, 1))))

    def _read_jobs(self, job_ids: Sequence[str]) -> list[JobRecord]:
        pipe = self.redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hgetall(self.key("job", job_id))
            pipe.zrank(self.key("queued"), job_id)
        replies = pipe.execute()
        return [
            job_record(text_fields(raw), None if rank is None else rank + 1)
            for raw, rank in zip(replies[::2], replies[1::2], strict=True)
            if b"id" in raw
        ]

    def _id_key(self, kind: str, value: str, *rest: str) -> str:
        if not _ID.fullmatch(value):
            raise StoreNotFoundError(f"there is no {kind} {value[:64]!r}")
        return self.key(kind, value, *rest)

    def _missing(self, kind: str, value: str) -> StoreGoneError | StoreNotFoundError:
        known = cast(bytes | None, self.redis.get(self.key("known", value)))
        if known == kind.encode():
            return StoreGoneError(f"{kind} {value} has expired or was deleted")
        return StoreNotFoundError(f"there is no {kind} {value!r}")


def image_id(data: bytes) -> str:
    """Name a picture by its bytes."""
    return hashlib.sha256(data).hexdigest()


def parse_events(reply: Sequence[tuple[bytes, Sequence[tuple[bytes, Any]]]] | None) -> list[Event]:
    """Read the answer of XREAD (RESP2) on one job's stream."""
    return [
        Event.model_validate(
            {
                "id": event_id.decode(),
                "name": fields[b"name"].decode(),
                "data": json.loads(fields[b"data"]),
            }
        )
        for _, entries in reply or ()
        for event_id, fields in entries
    ]

"""What Redis knows of the workers that live, and how much waits and runs."""

from __future__ import annotations

from typing import cast

from redis import Redis

from worker.contracts import Counts, WorkerRecord
from worker.records import text_fields
from worker.settings import Settings


class Presence:
    """Reads and writes of who works and how much there is to do; part of `worker.store.Store`."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.redis = redis
        self.settings = settings

    def key(self, *parts: str) -> str:
        """Name a key of this installation."""
        return ":".join((self.settings.key_prefix, *parts))

    def put_worker(self, record: WorkerRecord) -> None:
        """Say that a worker lives; it is forgotten after `heartbeat_timeout_s` of silence."""
        pipe = self.redis.pipeline(transaction=False)
        ttl_ms = int(self.settings.heartbeat_timeout_s * 1000)
        pipe.set(self.key("worker", record.name), record.model_dump_json(), px=ttl_ms)
        pipe.sadd(self.key("workers"), record.name)
        pipe.execute()

    def drop_worker(self, name: str) -> None:
        """Forget a worker that ends."""
        pipe = self.redis.pipeline(transaction=True)
        pipe.delete(self.key("worker", name))
        pipe.srem(self.key("workers"), name)
        pipe.execute()

    def workers(self) -> list[WorkerRecord]:
        """Return the workers that live, by name."""
        names = sorted(
            name.decode() for name in cast(set[bytes], self.redis.smembers(self.key("workers")))
        )
        if not names:
            return []
        values = self.redis.mget([self.key("worker", name) for name in names])
        pairs = list(zip(names, cast(list[bytes | None], values), strict=True))
        silent = [name for name, value in pairs if value is None]
        if silent:
            self.redis.srem(self.key("workers"), *silent)
        return [WorkerRecord.model_validate_json(value) for _, value in pairs if value is not None]

    def counts(self) -> Counts:
        """Return how much waits, runs and was done."""
        pipe = self.redis.pipeline(transaction=False)
        pipe.zcard(self.key("queued"))
        pipe.zcard(self.key("running"))
        pipe.hgetall(self.key("totals"))
        queued, running, raw = pipe.execute()
        totals = text_fields(raw)
        job_seconds = float(totals.pop("job_seconds", "0"))
        return Counts(
            queued=queued,
            running=running,
            workers=len(self.workers()),
            finished={status: int(number) for status, number in totals.items()},
            job_seconds=job_seconds,
        )

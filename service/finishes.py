"""Wakes requests that wait for a job, when it ends."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from contextlib import suppress

from redis.asyncio import Redis

from worker.connection import REDIS_DOWN
from worker.contracts import JobRecord
from worker.records import job_record

log = logging.getLogger("service")

RETRY_S = 1.0
"""Seconds between two tries to listen to Redis."""
REMEMBERED = 1000
"""Ids of finished jobs that are kept for those who begin to wait a moment too late."""


class Finishes:
    """What Redis publishes of jobs that end, heard by one subscription of the process.

    A message can be missed, as while Redis restarts: whoever waits looks at the job as well, now
    and then.
    """

    def __init__(self, redis_url: str, channel: str) -> None:
        self._redis_url = redis_url
        self._channel = channel
        self._waiting: dict[str, set[asyncio.Future[JobRecord]]] = {}
        self._recent: deque[str] = deque(maxlen=REMEMBERED)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen from now on, in the running loop."""
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def wait(self, job_id: str, timeout_s: float) -> JobRecord | None:
        """Return a job as it ended; None if that was not heard in time, or a moment ago."""
        if job_id in self._recent:
            self._recent.remove(job_id)  # should Redis have forgotten the end, the next wait waits
            return None
        heard: asyncio.Future[JobRecord] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(heard)
        try:
            await asyncio.wait({heard}, timeout=timeout_s)
            return heard.result() if heard.done() else None
        finally:
            self._leave(job_id, heard)

    def _leave(self, job_id: str, heard: asyncio.Future[JobRecord]) -> None:
        others = self._waiting[job_id]
        others.discard(heard)
        if not others:
            del self._waiting[job_id]

    async def _listen(self) -> None:
        async with Redis.from_url(self._redis_url, protocol=2) as redis:
            while True:
                try:
                    await self._hear(redis)
                except REDIS_DOWN as problem:
                    log.info("Redis does not tell which jobs end: %s", problem)
                except Exception:
                    log.exception("what Redis told of a job could not be read")
                await asyncio.sleep(RETRY_S)

    async def _hear(self, redis: Redis) -> None:
        """Wake who waits until the connection breaks."""
        async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(self._channel)
            async for message in subscription.listen():
                self._wake(message["data"])

    def _wake(self, message: bytes) -> None:
        name, _, fields = message.partition(b" ")
        job_id = name.decode()
        self._recent.append(job_id)
        waiting = self._waiting.get(job_id)
        if waiting:
            record = job_record(json.loads(fields), None)
            for heard in waiting:
                heard.set_result(record)

"""Notices jobs that nobody works on any more and puts them back into the queue.

It runs in every worker and in every service process. Any number of them may look at the same
job at the same moment: the change in Redis is atomic and happens once, and handing the same
attempt to RQ twice does no harm.

    running, no heartbeat for `heartbeat_timeout_s`   → queued again, from its last checkpoint
    the same, `max_attempts` workers lost             → failed, "worker-lost"
    queued, but RQ does not know it                   → handed to RQ again
"""

import logging
import threading
from typing import cast

from worker import scripts
from worker.connection import REDIS_DOWN
from worker.failures import worker_lost
from worker.queue import JobQueue

log = logging.getLogger(__name__)


class Watchdog:
    """A thread that sweeps every `watchdog_interval_s`; `sweep` can be called by hand, too."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.store = queue.store
        self.settings = queue.store.settings
        self._rescue = self.store.script(scripts.RESCUE)
        self._missing = self.store.script(scripts.MISSING)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Sweep from now on."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the present sweep."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=self.settings.redis_timeout_s * 2)
            self._thread = None

    def sweep(self) -> dict[str, str]:
        """Look once.

        Returns:
            What was done: job id → queued, failed, canceled or pushed.
        """
        done = self._rescue_running()
        done.update(self._push_missing())
        return done

    def _run(self) -> None:
        away = False
        while not self._stopped.wait(self.settings.watchdog_interval_s):
            try:
                self.sweep()
                away = False
            except REDIS_DOWN as problem:
                if not away:
                    log.warning("watchdog: Redis does not answer (%s)", problem)
                away = True
            except Exception:
                log.exception("watchdog: this sweep failed; the next one comes")

    def _rescue_running(self) -> dict[str, str]:
        """Take jobs from workers that are silent, unless Redis itself was away just now."""
        timeout_s = self.settings.heartbeat_timeout_s
        redis = self.store.redis
        server = redis.info("server")
        if server["uptime_in_seconds"] < timeout_s:
            return {}
        seconds, micros = redis.time()
        latest = seconds + micros / 1e6 - timeout_s
        silent = redis.zrangebyscore(self.store.key("running"), "-inf", latest)
        done: dict[str, str] = {}
        failure = worker_lost(self.settings).model_dump_json()
        for job_id in (member.decode() for member in cast(list[bytes], silent)):
            config = self.store.job_config(job_id)
            limits = (timeout_s, self.settings.max_attempts)
            outcome = cast(bytes, self._rescue(args=[config, *limits, failure])).decode()
            if outcome in ("queued", "failed", "canceled"):
                done[job_id] = outcome
                self._after_rescue(job_id, outcome)
        return done

    def _after_rescue(self, job_id: str, outcome: str) -> None:
        attempt = self.store.read_job(job_id).attempts
        log.warning("job %s lost the worker of attempt %d: %s", job_id, attempt, outcome)
        if outcome == "queued":
            self.queue.push(job_id, attempt + 1, at_front=True)
        self.queue.remove(job_id, attempt)

    def _push_missing(self) -> dict[str, str]:
        waiting = self.store.redis.zrange(self.store.key("queued"), 0, -1)
        known = {rq_id.rpartition("-")[0] for rq_id in self.queue.rq.get_job_ids()}
        done: dict[str, str] = {}
        for job_id in (member.decode() for member in cast(list[bytes], waiting)):
            if job_id in known:
                continue
            grace_s = self.settings.heartbeat_timeout_s / 2
            answer = self._missing(args=[self.store.job_config(job_id), grace_s])
            if cast(bytes, answer) == b"push":
                attempt = self.store.read_job(job_id).attempts + 1
                log.warning("job %s was lost by the queue: handed over again", job_id)
                self.queue.remove(job_id, attempt)
                self.queue.push(job_id, attempt, at_front=True)
                done[job_id] = "pushed"
        return done

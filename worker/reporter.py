"""What happens between two steps of a descent: limits, cancel, progress, previews, saving."""

import base64
import logging
import math
import time
from collections.abc import Callable

import torch
from pydantic import JsonValue

from ni_core.images import encode_image
from ni_core.inversion.report import StepReport
from worker.connection import REDIS_DOWN
from worker.contracts import EventName, Progress
from worker.lease import Checkpoint, HandedBack, Lease, RedisLost, TimeLimitExceeded

log = logging.getLogger(__name__)

PREVIEW_IMAGES = 4
"""Most pictures of a batch that a preview shows."""

LONGEST_PAUSE_S = 2.0
"""Longest pause between two tries to reach Redis while the descent goes on."""


class Rate:
    """Says when something is due: first at once unless `last` is given, then each interval."""

    def __init__(self, interval_s: float, last: float = -math.inf) -> None:
        self.interval_s = interval_s
        self._last = last

    def due(self, now: float) -> bool:
        """Tell whether the interval is over, and start the next one if it is."""
        if now - self._last < self.interval_s:
            return False
        self._last = now
        return True


class StepReporter:
    """The step callback of one attempt. Leaves the descent by raising a `StopInversion`.

    While Redis is out of reach the descent goes on, and Redis is tried again at growing
    intervals, until `redis_patience_s` is over.

    Attributes:
        seconds: Time of the attempt so far.
        last: Latest place from which the job could be taken up again.
        ends_at_once: Whether the job ends with its last step: that one is then kept in `untold`
            instead of reported, to be told with the end.
        untold: Progress that was not reported.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        stopping: Callable[[], bool],
        alive: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = lease.store.settings
        self.last: Checkpoint | None = None
        self.ends_at_once = False
        self.untold: Progress | None = None
        self._lease = lease
        self._settings = settings
        self._stopping = stopping
        self._alive = alive
        self._earlier_s = 0.0
        self._clock = clock
        self._started = now = clock()
        self._control = Rate(settings.control_interval_s)
        self._progress = Rate(settings.progress_interval_s)
        self._preview = Rate(settings.preview_interval_s, now)
        self._saving = Rate(settings.checkpoint_interval_s, now)
        self._outage: _Outage | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the attempt began."""
        return self._clock() - self._started

    def resume(self, saved: Checkpoint) -> None:
        """Count on from an earlier attempt."""
        self.last = saved
        self._earlier_s = saved.seconds

    def __call__(self, report: StepReport) -> None:
        """Take note of a step.

        Raises:
            TimeLimitExceeded: The attempt is over its time.
            HandedBack: This worker has to end.
            Canceled, LostLease: What Redis says about the job.
            RedisLost: Redis stayed away too long.
        """
        now = self._clock()
        self.last = Checkpoint(report.step, self._earlier_s + self.seconds, report.latents)
        if now - self._started > self._settings.job_time_limit_s:
            raise TimeLimitExceeded(self._lease.job_id)
        if self._stopping():
            raise HandedBack(self._lease.job_id)
        if self.ends_at_once and report.step >= report.steps:
            self.untold = _progress(report)
            return
        if self._outage and not self._outage.over_pause(now):
            return
        if not self._control.due(now) and report.step < report.steps:
            return
        try:
            self._exchange(report, self.last, now)
        except REDIS_DOWN as problem:
            self._note_outage(problem)
        else:
            self._outage = None

    def _exchange(self, report: StepReport, checkpoint: Checkpoint, now: float) -> None:
        progress = _progress(report)
        events: list[tuple[EventName, dict[str, JsonValue]]] = []
        last = report.step >= report.steps
        if self._progress.due(now) or last:
            events.append(("progress", progress.model_dump(mode="json")))
        if self._settings.preview_interval_s and self._preview.due(now) and not last:
            events.append(("preview", self._render(report)))
        self._lease.report(progress, events)
        if self._saving.due(now):
            self._lease.save(checkpoint)
        self._alive()

    def _render(self, report: StepReport) -> dict[str, JsonValue]:
        images = report.images()[:PREVIEW_IMAGES].detach().float()
        longest = max(images.shape[-2:])
        if longest > self._settings.preview_px:
            scale = self._settings.preview_px / longest
            images = torch.nn.functional.interpolate(images, scale_factor=scale, mode="area")
        pictures = [encode_image(image.cpu(), "webp", quality=80) for image in images]
        return {
            "step": report.step,
            "media_type": "image/webp",
            "images": [base64.b64encode(picture).decode() for picture in pictures],
        }

    def _note_outage(self, problem: Exception) -> None:
        now = self._clock()
        if self._outage is None:
            log.warning("job %s goes on without Redis: %s", self._lease.job_id, problem)
            self._outage = _Outage(now)
        self._outage.pause(now)
        if now - self._outage.since > self._settings.redis_patience_s:
            raise RedisLost(self._lease.job_id)


def _progress(report: StepReport) -> Progress:
    return Progress(step=report.step, steps=report.steps, loss=report.loss, eta_s=report.eta_s)


class _Outage:
    def __init__(self, since: float) -> None:
        self.since = since
        self._pause_s = 0.1
        self._until = since

    def pause(self, now: float) -> None:
        self._pause_s = min(self._pause_s * 1.6, LONGEST_PAUSE_S)
        self._until = now + self._pause_s

    def over_pause(self, now: float) -> bool:
        return now >= self._until

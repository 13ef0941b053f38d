"""Calls that come later, all from one thread of the process.

A thread for each attempt would cost more than an attempt of an encoder takes.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Alarm:
    """A call that is due at a time of the monotonic clock, and then each interval if it has one."""

    due: float
    interval_s: float | None
    call: Callable[[], object]


class Alarms:
    """Calls what is due; the thread starts with the first alarm and sleeps in between.

    Calls come one after the other: one that blocks delays the others.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._alarms: set[_Alarm] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None

    @contextmanager
    def every(self, interval_s: float, call: Callable[[], object]) -> Iterator[None]:
        """Call each interval while the block runs, first after one interval."""
        with self._set(_Alarm(time.monotonic() + interval_s, interval_s, call)):
            yield

    @contextmanager
    def after(self, seconds: float, call: Callable[[], object]) -> Iterator[None]:
        """Call once if the block still runs after so many seconds."""
        with self._set(_Alarm(time.monotonic() + seconds, None, call)):
            yield

    @contextmanager
    def _set(self, alarm: _Alarm) -> Iterator[None]:
        with self._changed:
            self._alarms.add(alarm)
            self._ensure_thread()
            if alarm.due < self._wakes_at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._alarms.discard(alarm)

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            for alarm in self._wait():
                try:
                    alarm.call()
                except Exception:
                    log.exception("an alarm's call failed")

    def _wait(self) -> list[_Alarm]:
        """Return what is due once something is."""
        with self._changed:
            while True:
                now = time.monotonic()
                ripe = [alarm for alarm in self._alarms if alarm.due <= now]
                for alarm in ripe:
                    self._put_off(alarm, now)
                if ripe:
                    return ripe
                self._wakes_at = min((alarm.due for alarm in self._alarms), default=math.inf)
                pause_s = self._wakes_at - now
                self._changed.wait(pause_s if pause_s < threading.TIMEOUT_MAX else None)

    def _put_off(self, alarm: _Alarm, now: float) -> None:
        if alarm.interval_s is None:
            self._alarms.discard(alarm)
        else:
            alarm.due = now + alarm.interval_s


alarms = Alarms()
"""Those of this process; without a thread until the first one is set."""

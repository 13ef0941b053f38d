"""Whether this process may be sent requests: starting, ready, draining."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

logger = logging.getLogger("service")

RETRY_WARM_UP_S = 5.0
"""Seconds between two tries to load the default bundle."""


class Readiness:
    """Warms up in the background, so that the socket answers at once."""

    def __init__(self, warm_up: Callable[[], None]) -> None:
        self._warm_up = warm_up
        self._warm = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="warm-up", daemon=True)
        self._draining = False
        self.problem: str | None = None

    @property
    def warm(self) -> bool:
        return self._warm.is_set()

    @property
    def draining(self) -> bool:
        return self._draining

    def start(self) -> None:
        self._thread.start()

    def drain(self) -> None:
        """Say "not ready" from now on, while what runs is finished."""
        self._draining = True

    def close(self) -> None:
        self.drain()
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._warm_up()
            except Exception as error:  # whatever is wrong with a bundle may be mended later
                self.problem = str(error)
                logger.warning("warm-up failed, next try in %.0f s: %s", RETRY_WARM_UP_S, error)
                self._stop.wait(RETRY_WARM_UP_S)
            else:
                self.problem = None
                self._warm.set()
                return


class DrainOnSignal:
    """Calls `drain` on SIGTERM and SIGINT, before whoever handled them so far.

    The server stops listening a moment later; a load balancer that asks meanwhile is told, and
    event streams, which would hold the server open, end.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, drain: Callable[[], None]) -> None:
        self._drain = drain
        self._earlier: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may; a server in another thread is not signalled
        for number in self._SIGNALS:
            earlier = signal.getsignal(number)
            if callable(earlier):
                self._earlier[number] = earlier
                signal.signal(number, self._handle)

    def restore(self) -> None:
        for number, earlier in self._earlier.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, earlier)
        self._earlier.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._drain()
        self._earlier[signal.Signals(number)](number, frame)

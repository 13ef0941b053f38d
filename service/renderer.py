"""Micro-batches: edits that arrive while one batch is rendered become the next batch.

One thread renders. A lone request is rendered at once; one that comes with others waits, a
millisecond or two, for those whose latents are being fetched already, and for nothing else.
Bundles are grouped, never mixed.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from ni_core.bundles import Bundle
from service.errors import BusyError
from service.metrics import Metrics

logger = logging.getLogger("service")

T = TypeVar("T")

COMPANY_S = 0.002
"""Longest wait of a batch, in seconds, for orders that are being prepared."""

BATCH_PX = 1 << 21
"""Pixels that a batch renders at once: 2 pictures of 1024 px, whose features take gigabytes."""

RETRY_AFTER_S = 1
"""What a client is told to wait, in seconds, when too many edits wait."""


@dataclass(frozen=True)
class _Order:
    bundle: Bundle
    latent: Tensor
    future: Future[Tensor] = field(default_factory=Future)


class Renderer:
    """Renders latents in one thread of its own, in batches."""

    def __init__(
        self, metrics: Metrics, *, max_batch: int = 16, queue_limit: int = 256, threads: int = 0
    ) -> None:
        self._metrics = metrics
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._threads = threads
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._closed = False
        self._coming = _Count()
        self._thread = threading.Thread(target=self._run, name="renderer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Render what waits, then end the thread."""
        self._closed = True
        if self._thread.is_alive():
            self._orders.put(None)
            self._thread.join()

    def submit(self, bundle: Bundle, latent: Tensor) -> Future[Tensor]:
        """Order one picture.

        Args:
            bundle: Whose generator renders it.
            latent: What `generator.synthesize` takes, without the batch dimension.

        Returns:
            A future of the picture `[3, h, w]`, on the CPU.

        Raises:
            BusyError: As many orders wait as are allowed, or the service is stopping.
        """
        waiting = self._orders.qsize()
        if waiting >= self._queue_limit or self._closed:
            raise BusyError(
                f"{waiting} edits wait and the limit is {self._queue_limit}",
                retry_after_s=RETRY_AFTER_S,
                value=waiting,
                limit=self._queue_limit,
            )
        order = _Order(bundle, latent)
        self._orders.put(order)
        return order.future

    def pipe(
        self,
        prepare: Callable[[], tuple[Bundle, Tensor, T]],
        encode: Callable[[Tensor], bytes],
        threads: Executor,
    ) -> Future[tuple[T, bytes]]:
        """Prepare, render and encode one picture without coming back in between.

        Who waits for the future is woken once. That matters where it is an event loop: each
        hop through it costs as much as fetching the latent.

        Args:
            prepare: Makes what `submit` takes, and a third thing that is only passed on.
            encode: Makes a file of the picture.
            threads: Where both run.
        """
        outcome: Future[tuple[T, bytes]] = Future()

        def start() -> None:
            try:
                if not outcome.set_running_or_notify_cancel():
                    return
                bundle, latent, passed_on = prepare()
                rendering = self.submit(bundle, latent)
            except Exception as error:
                outcome.set_exception(error)
                return
            finally:
                self._coming.add(-1)
            rendering.add_done_callback(lambda done: threads.submit(finish, done, passed_on))

        def finish(rendering: Future[Tensor], passed_on: T) -> None:
            try:
                outcome.set_result((passed_on, encode(rendering.result())))
            except Exception as error:
                outcome.set_exception(error)

        self._coming.add(1)
        threads.submit(start)
        return outcome

    def _run(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        while True:
            orders, last = self._next_orders()
            for group in _by_bundle(orders):
                for batch in _portions(group):
                    self._render(batch)
            if last:
                return

    def _next_orders(self) -> tuple[list[_Order], bool]:
        """Wait for one order, then take what else is there; the flag says it was the last."""
        orders: list[_Order] = []
        order = self._orders.get()
        deadline_s = time.monotonic() + COMPANY_S
        while order is not None:
            if order.future.set_running_or_notify_cancel():
                orders.append(order)
            if len(orders) >= self._max_batch:
                return orders, False
            left_s = deadline_s - time.monotonic() if self._coming.value > 0 else 0.0
            try:
                order = self._orders.get(timeout=max(left_s, 0.0))
            except queue.Empty:
                return orders, False
        return orders, True

    def _render(self, orders: Sequence[_Order]) -> None:
        bundle = orders[0].bundle
        started_s = time.perf_counter()
        try:
            images = _synthesize(bundle, [order.latent for order in orders])
        except Exception as error:
            logger.exception("a batch of %d could not be rendered", len(orders))
            for order in orders:
                order.future.set_exception(error)
            return
        for order, image in zip(orders, images, strict=True):
            order.future.set_result(image)
        self._metrics.render_seconds.labels(bundle.name).observe(time.perf_counter() - started_s)
        self._metrics.batch_size.observe(len(orders))
        self._metrics.edits.labels(bundle.name).inc(len(orders))


class _Count:
    """A number several threads add to."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, change: int) -> None:
        with self._lock:
            self.value += change


@torch.inference_mode()
def _synthesize(bundle: Bundle, latents: Sequence[Tensor]) -> Tensor:
    batch = torch.stack(list(latents)).to(bundle.generator.device)
    return bundle.generator.synthesize(batch, noise="const").float().cpu()


def _by_bundle(orders: Sequence[_Order]) -> list[list[_Order]]:
    groups: dict[int, list[_Order]] = {}
    for order in orders:
        groups.setdefault(id(order.bundle), []).append(order)
    return list(groups.values())


def _portions(orders: Sequence[_Order]) -> Iterator[Sequence[_Order]]:
    """Split orders of one bundle, so that large pictures do not fill the memory."""
    size = max(1, BATCH_PX // orders[0].bundle.generator.resolution ** 2)
    for first in range(0, len(orders), size):
        yield orders[first : first + size]

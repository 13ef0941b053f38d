"""Prometheus figures of one app, in its own registry: base units, no ids in labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from worker.contracts import Counts

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


class Metrics:
    """Everything `GET /metrics` shows of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.request_seconds = Histogram(
            "ni_http_request_duration_seconds",
            "Time from a request to the start of its answer.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.edits = Counter(
            "ni_edits_rendered", "Pictures rendered.", ("model",), registry=self.registry
        )
        self.render_seconds = Histogram(
            "ni_render_duration_seconds",
            "Time to render one batch.",
            ("model",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "ni_render_batch_size",
            "Pictures rendered as one batch.",
            buckets=_SIZES,
            registry=self.registry,
        )

    def watch(self, counts: Callable[[], Counts], models: Callable[[], tuple[int, int]]) -> None:
        """Show, at every scrape, what the store counts and what the model cache holds."""
        self.registry.register(_Installation(counts, models))

    def exposition(self) -> bytes:
        """The figures in the Prometheus text format."""
        return bytes(generate_latest(self.registry))


class _Installation(Collector):
    """Figures that are read when somebody asks."""

    def __init__(self, counts: Callable[[], Counts], models: Callable[[], tuple[int, int]]) -> None:
        self._counts = counts
        self._models = models

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        loaded, held_bytes = self._models()
        yield GaugeMetricFamily("ni_models_loaded", "Models in this process.", loaded)
        yield GaugeMetricFamily("ni_model_cache_bytes", "Bytes of those models.", held_bytes)
        try:
            counts = self._counts()
        except RedisError:
            yield GaugeMetricFamily("ni_store_up", "Whether Redis answers.", 0)
            return
        yield GaugeMetricFamily("ni_store_up", "Whether Redis answers.", 1)
        yield GaugeMetricFamily("ni_queue_length", "Inversions that wait.", counts.queued)
        yield GaugeMetricFamily("ni_jobs_running", "Inversions that run.", counts.running)
        yield GaugeMetricFamily("ni_workers", "Workers with a sign of life.", counts.workers)
        yield CounterMetricFamily(
            "ni_job_seconds", "Time spent on finished jobs.", counts.job_seconds
        )
        finished = CounterMetricFamily(
            "ni_jobs_finished", "Finished jobs, all processes together.", labels=("status",)
        )
        for status, number in counts.finished.items():
            finished.add_metric((status,), number)
        yield finished

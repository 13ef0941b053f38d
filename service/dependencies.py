"""What the routes work with, made once per app and handed to them by FastAPI."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, ParamSpec, TypeVar

import torch
from fastapi import Depends, Request
from torch import Tensor

from ni_core.bundles import Bundle, ModelCache
from ni_core.images import encode_image
from service.answers import ImageFormat
from service.finishes import Finishes
from service.metrics import Metrics
from service.readiness import Readiness
from service.renderer import Renderer
from service.settings import ServiceSettings
from worker.connection import connect
from worker.device import resolve_device
from worker.queue import JobQueue
from worker.store import Store

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 16
"""Threads that wait for Redis or turn pictures into bytes; one that waits costs nothing."""
DECODERS = 2
"""Threads for uploads, apart from the others: no edit waits behind a large photo."""


@dataclass(frozen=True)
class Services:
    """The parts of one app. Nothing here is needed to answer a request on another replica."""

    settings: ServiceSettings
    store: Store
    queue: JobQueue
    finishes: Finishes
    models: ModelCache
    renderer: Renderer
    metrics: Metrics
    readiness: Readiness
    threads: ThreadPoolExecutor
    decoders: ThreadPoolExecutor

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what blocks in a thread, off the event loop."""
        bound = functools.partial(call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.threads, bound)

    async def run_upload(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what may take seconds, as decoding a large photo does."""
        bound = functools.partial(call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.decoders, bound)

    async def render(self, bundle: Bundle, latent: Tensor) -> Tensor:
        """Have one picture rendered, together with others that are asked for meanwhile."""
        return await asyncio.wrap_future(self.renderer.submit(bundle, latent))

    async def picture(
        self, prepare: Callable[[], tuple[Bundle, Tensor, T]], format: ImageFormat
    ) -> tuple[T, bytes]:
        """Have one picture prepared, rendered and encoded; see `Renderer.pipe`."""
        encode = functools.partial(encode_image, format=format)
        return await asyncio.wrap_future(self.renderer.pipe(prepare, encode, self.threads))


def build_services(settings: ServiceSettings) -> Services:
    """Wire the parts; neither Redis nor a model is touched yet."""
    redis = connect(
        settings.redis_url, timeout_s=min(settings.store_timeout_s, settings.redis_timeout_s)
    )
    store = Store(redis, settings)
    models = ModelCache(
        [settings.model_dir],
        capacity_bytes=settings.cache_bytes,
        device=resolve_device(settings.device),
    )
    metrics = Metrics()
    metrics.watch(store.counts, lambda: (len(models.loaded()), models.nbytes))
    renderer = Renderer(
        metrics,
        max_batch=settings.render_batch,
        queue_limit=settings.render_queue_limit,
        threads=settings.render_threads,
    )
    return Services(
        settings=settings,
        store=store,
        queue=JobQueue(store),
        finishes=Finishes(settings.redis_url, store.key("finished")),
        models=models,
        renderer=renderer,
        metrics=metrics,
        readiness=Readiness(lambda: _warm_up(models, renderer, settings.default_model)),
        threads=ThreadPoolExecutor(min(THREADS, 4 * (os.cpu_count() or 1)), "service"),
        decoders=ThreadPoolExecutor(DECODERS, "decode"),
    )


def _warm_up(models: ModelCache, renderer: Renderer, name: str) -> None:
    """Load the default bundle and render once: the first caller does not pay for it."""
    bundle = models.get(name)
    generator = bundle.generator
    shape = (generator.num_layers, generator.w_dim) if generator.num_layers else (generator.z_dim,)
    renderer.submit(bundle, torch.zeros(shape)).result()


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]

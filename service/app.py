"""The app factory: `create_app(settings)` wires everything; importing does nothing."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.types import Scope

from service import openapi
from service.dependencies import Services, build_services
from service.middleware import BodyLimit, RequestContext
from service.problems import install_handlers
from service.readiness import DrainOnSignal
from service.routes import directions, edit, health, invert, jobs, latents, models, problems
from service.security import Authentication
from service.settings import ServiceSettings
from worker.watchdog import Watchdog

VERSION = "0.1.0"
ROUTERS = tuple(
    resource.router
    for resource in (edit, invert, jobs, latents, directions, models, health, problems)
)
"""Matched in this order: first what a slider calls."""
STUDIO = Path(__file__).parent / "studio"
STUDIO_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Make one app; several may live in one process."""
    settings = settings or ServiceSettings()
    services = build_services(settings)
    app = FastAPI(
        title="Neural Inversion",
        version=VERSION,
        lifespan=_lifespan,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        middleware=[
            Middleware(RequestContext, metrics=services.metrics),
            Middleware(Authentication, digests=settings.key_digests()),
            Middleware(
                BodyLimit,
                upload_bytes=settings.max_upload_bytes,
                other_bytes=settings.max_json_bytes,
            ),
        ],
    )
    app.state.services = services
    install_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    _add_pages(app)
    app.openapi = _described_once(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start what runs beside the requests; on the way out, let what runs finish."""
    services: Services = app.state.services
    signals = DrainOnSignal(services.readiness.drain)
    signals.install()
    services.renderer.start()
    services.readiness.start()
    services.finishes.start()
    watchdog = Watchdog(services.queue) if services.settings.watchdog else None
    if watchdog:
        watchdog.start()
    try:
        yield
    finally:
        services.readiness.drain()
        await services.finishes.close()
        await services.run(services.readiness.close)
        await services.run(services.renderer.close)
        if watchdog:
            await services.run(watchdog.stop)
        services.threads.shutdown()
        services.decoders.shutdown()
        services.store.redis.close()
        signals.restore()


def _add_pages(app: FastAPI) -> None:
    """The studio, where there is one, and the document as YAML."""

    @app.get("/openapi.yaml", include_in_schema=False)
    async def read_openapi() -> Response:
        return Response(openapi.to_yaml(app.openapi()), media_type="application/yaml")

    if STUDIO.is_dir():
        app.mount("/studio", StudioFiles(directory=STUDIO, html=True), name="studio")

        @app.get("/", include_in_schema=False)
        async def open_studio(request: Request) -> Response:
            return RedirectResponse(f"{request.scope.get('root_path', '')}/studio/")


class StudioFiles(StaticFiles):
    """Static files that may load nothing from elsewhere."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = STUDIO_POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-cache"
        return response


def _described_once(app: FastAPI) -> Callable[[], dict[str, Any]]:
    lock = threading.Lock()

    def describe() -> dict[str, Any]:
        with lock:
            if app.openapi_schema is None:
                app.openapi_schema = openapi.describe(app)
            return app.openapi_schema

    return describe

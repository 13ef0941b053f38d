"""Probes and figures."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from redis.exceptions import RedisError

from service.dependencies import Services, ServicesDep
from service.schemas import Live, Ready

router = APIRouter(tags=["health"])


@router.get("/health/live", summary="Is the process alive?")
async def live() -> Live:
    """Always 200 while the event loop turns: restart the process if this fails."""
    return Live()


@router.get(
    "/health/ready",
    summary="May this process be sent requests?",
    responses={503: {"model": Ready, "description": "Not now; `reasons` says why."}},
)
async def ready(services: ServicesDep, response: Response) -> Ready:
    """200 when the default model is loaded and Redis answers, and not while draining.

    No worker is no reason: edits, latents and directions need none, and inversions wait in
    the queue. It is named under `degraded`.
    """
    answer = await services.run(_look, services)
    if answer.status != "ready":
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return answer


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: ServicesDep) -> Response:
    """Request times, renders, batch sizes, queue, jobs, workers, models."""
    content = await services.run(services.metrics.exposition)
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _look(services: Services) -> Ready:
    reasons, degraded = [], []
    workers = None
    try:
        workers = services.store.counts().workers
    except RedisError:
        reasons.append("the store does not answer")
    if workers == 0:
        degraded.append("no worker gives a sign of life: inversions wait in the queue")
    readiness = services.readiness
    if not readiness.warm:
        reasons.append(readiness.problem or "the default model is being loaded")
    if readiness.draining:
        reasons.append("the process is stopping")
    return Ready(
        status=_status(services, reasons),
        reasons=reasons,
        degraded=degraded,
        workers=workers,
        models=services.models.names(),
    )


def _status(services: Services, reasons: list[str]) -> str:
    readiness = services.readiness
    if readiness.draining:
        return "draining"
    if not readiness.warm and readiness.problem is None:
        return "starting"
    return "unavailable" if reasons else "ready"

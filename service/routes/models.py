"""Bundles: what they are and can do."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from ni_core.bundles import ModelCache
from ni_core.inversion import option_schema
from service.answers import problems
from service.dependencies import ServicesDep
from service.schemas import ModelList

LONG = frozenset({"training", "source", "figures"})
"""Fields that the list leaves out."""

router = APIRouter(tags=["models"], responses=problems(401))


@router.get("/models", summary="List the models")
def list_models(services: ServicesDep) -> ModelList:
    """Each with its spaces, layers, methods and their options.

    How it was trained, where it came from and what was measured is in `GET /models/{name}`.
    """
    described = (_describe(services.models, name) for name in services.models.names())
    return ModelList(
        models=[{k: v for k, v in entry.items() if k not in LONG} for entry in described]
    )


@router.get("/models/{name}", summary="Describe one model", responses=problems(404))
def read_model(
    services: ServicesDep,
    name: Annotated[str, Path(max_length=64, description="From GET /models.")],
) -> dict[str, Any]:
    """Its entry of `GET /models`, and how it was trained, where it came from, what was measured."""
    return _describe(services.models, name)


def _describe(models: ModelCache, name: str) -> dict[str, Any]:
    summary = models.summary(name)
    options = {method: option_schema(method) for method in summary["methods"]}
    return {**summary, "options": options, "links": {"self": f"/models/{name}"}}

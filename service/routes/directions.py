"""Semantic directions of a model."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ni_core.directions import Direction, find_directions
from ni_core.layers import format_layers, parse_layers
from service.answers import is_unchanged, problems, strong_etag
from service.dependencies import Services, ServicesDep
from service.errors import InvalidFieldError
from service.schemas import DirectionAnswer, DirectionList

router = APIRouter(tags=["directions"], responses=problems(401, 404, 422))

CACHE_CONTROL = "no-cache"
"""Clients keep the answer and ask each time whether it still holds."""


@router.get(
    "/directions",
    summary="List directions",
    response_model=DirectionList,
    responses={304: {"description": "What `If-None-Match` names still holds."}},
)
def list_directions(
    request: Request,
    services: ServicesDep,
    layers: Annotated[
        str,
        Query(
            max_length=200,
            description="Rows of W+: `all`, `0-5`, `1,3,5-7`; `all` for a model with only z. "
            "Imported directions keep their own rows with `all`.",
        ),
    ] = "all",
    k: Annotated[int, Query(ge=1, description="How many at most, the strongest first.")] = 8,
    method: Annotated[
        str,
        Query(
            max_length=64,
            description="How to find them: `sefa`, or `imported` for those that came with the "
            "model; see `direction_methods` of the model.",
        ),
    ] = "sefa",
    model: Annotated[
        str | None, Query(max_length=64, description="Bundle; the default one if left out.")
    ] = None,
    vectors: Annotated[bool, Query(description="Whether to include the unit vectors.")] = False,
) -> Response:
    """The strongest directions of these rows, with calibrated ranges for sliders."""
    if k > services.settings.max_directions:
        limit = services.settings.max_directions
        raise InvalidFieldError(f"k {k} exceeds {limit}", field="k", value=k, limit=limit)
    name = model or services.settings.default_model
    content = _answer(services, name, layers, k, method, vectors).model_dump_json(
        exclude_unset=True
    )
    etag = strong_etag(content.encode())
    headers = {"ETag": etag, "Cache-Control": CACHE_CONTROL}
    if is_unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _answer(
    services: Services, name: str, layers: str, k: int, method: str, vectors: bool
) -> DirectionList:
    bundle = services.models.get(name)
    found = find_directions(bundle, method=method, layers=layers, k=k)
    rows = parse_layers(layers, bundle.generator.num_layers)
    return DirectionList(
        model=name,
        generator=bundle.generator.fingerprint,
        method=method,
        layers=format_layers(rows),
        directions=[_describe(direction, vectors) for direction in found],
    )


def _describe(direction: Direction, vectors: bool) -> DirectionAnswer:
    answer = DirectionAnswer(
        id=direction.id,
        index=direction.index,
        method=direction.method,
        layers=format_layers(direction.layers),
        space=direction.space,
        eigenvalue=direction.eigenvalue,
        name=direction.name,
        source=direction.source,
        range=direction.range,
    )
    if vectors:
        return answer.model_copy(update={"vector": direction.vector.tolist()})
    return answer

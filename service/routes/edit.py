"""Edited pictures from slider weights."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from torch import Tensor, stack

from ni_core.bundles import Bundle
from ni_core.images import MEDIA_TYPES, animate, encode_image, grid
from service.answers import FORMATS, IMAGE_CONTENT, problems
from service.dependencies import Services, ServicesDep
from service.errors import InvalidFieldError
from service.negotiation import negotiate
from service.scenes import Rows, Scene, choose_directions, edited, read_scene
from service.schemas import EditAnswer, EditBody, EditLinks, SweepBody
from service.views import latent_links
from worker.contracts import LatentRecord

router = APIRouter(tags=["edit"], responses=problems(400, 401, 404, 406, 409, 410, 413, 422, 503))

JSON = "application/json"
EDIT_TYPES = (*FORMATS, JSON)
STRIP_TYPES = tuple(media_type for name, media_type in MEDIA_TYPES.items() if name != "webp")
SWEEP_TYPES = (*STRIP_TYPES, MEDIA_TYPES["webp"])
ANIMATIONS: Mapping[str, Any] = {MEDIA_TYPES["webp"]: "webp", MEDIA_TYPES["gif"]: "gif"}
"""Media type -> format of a sweep that moves; others are film strips."""

_LATENT_ID = {
    "description": "Id of the edited latent, if it was saved.",
    "schema": {"type": "string"},
}


@router.post(
    "/edit",
    summary="Render an edited picture",
    response_class=Response,
    responses={
        200: {
            "description": "The picture, or JSON with the picture in it, by `Accept`.",
            "headers": {
                "X-Latent-Id": _LATENT_ID,
                "Location": _LATENT_ID,
                "Expires-At": _LATENT_ID,
            },
            "content": {
                **IMAGE_CONTENT,
                JSON: {"schema": {"$ref": f"#/components/schemas/{EditAnswer.__name__}"}},
            },
        }
    },
)
async def create_edit(body: EditBody, request: Request, services: ServicesDep) -> Response:
    """Move a latent along directions and render it, at once: no job, no queue behind inversions.

    Edits add up. Weight 0 gives the picture of `GET /latents/{id}/image`, byte for byte.
    """
    media_type = negotiate(request.headers.get("accept"), EDIT_TYPES)
    _check_number(len(body.weights), services.settings.max_edit_weights, "weights")
    format = FORMATS.get(media_type, "png")
    record, content = await services.picture(partial(_prepare_edit, services, body), format)
    headers = _saved_headers(record)
    if media_type == JSON:
        answer = _json_answer(content, format, record)
        return Response(answer.model_dump_json(), media_type=JSON, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@router.post(
    "/edit/sweep",
    summary="Follow one direction over a range of weights",
    response_class=Response,
    responses={
        200: {
            "description": "A film strip (png, jpeg) or an animation (webp, gif), by `Accept`.",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in SWEEP_TYPES
            },
        }
    },
)
async def create_sweep(body: SweepBody, request: Request, services: ServicesDep) -> Response:
    """Pictures from the lowest weight to the highest, side by side or one after the other."""
    media_type = negotiate(request.headers.get("accept"), SWEEP_TYPES)
    _check_number(body.frames, services.settings.max_sweep_frames, "frames")
    scenes = await services.run(_prepare_sweep, services, body)
    images = await asyncio.gather(
        *(services.render(scene.bundle, scene.synthesis_input()) for scene in scenes)
    )
    content = await services.run(_encode_sweep, images, media_type, body.frame_s)
    return Response(content, media_type=media_type, headers={"Vary": "Accept"})


def _check_number(value: int, limit: int, field: str) -> None:
    if value > limit:
        raise InvalidFieldError(
            f"{field}: {value} exceed the limit of {limit}", field=field, value=value, limit=limit
        )


def _prepare_edit(services: Services, body: EditBody) -> tuple[Bundle, Tensor, LatentRecord | None]:
    scene = read_scene(services, body.latent)
    rows = Rows(body.method, body.layers, body.k)
    result = edited(scene, body.weights, rows, body.psi)
    record = None
    if body.save:
        record = services.store.put_latent(
            result.latent, model=scene.bundle.name, method="edit", source=scene.source
        )
    return scene.bundle, result.synthesis_input(), record


def _saved_headers(record: LatentRecord | None) -> dict[str, str]:
    if record is None:
        return {"Vary": "Accept"}
    return {
        "Vary": "Accept",
        "X-Latent-Id": record.id,
        "Location": f"/latents/{record.id}",
        "Expires-At": record.expires_at.isoformat(),
    }


def _json_answer(content: bytes, format: str, record: LatentRecord | None) -> EditAnswer:
    links = latent_links(record.id) if record else None
    return EditAnswer(
        latent=record and record.id,
        image=base64.b64encode(content).decode(),
        media_type=MEDIA_TYPES[format],
        expires_at=record and record.expires_at,
        links=EditLinks(latent=links and links.self, image=links and links.image),
    )


def _prepare_sweep(services: Services, body: SweepBody) -> list[Scene]:
    scene = read_scene(services, body.latent)
    rows = Rows(body.method, body.layers)
    (direction,) = choose_directions(scene.bundle, {body.direction: 0.0}, rows)
    low = direction.range[0] if body.low is None else body.low
    high = direction.range[1] if body.high is None else body.high
    step = (high - low) / (body.frames - 1)
    weights = [low + step * frame for frame in range(body.frames)]
    return [edited(scene, {direction.id: weight}, rows, body.psi) for weight in weights]


def _encode_sweep(images: list[Tensor], media_type: str, frame_s: float) -> bytes:
    if media_type in ANIMATIONS:
        return animate(images, ANIMATIONS[media_type], frame_s=frame_s)
    strip = grid(stack(images), columns=len(images))
    return encode_image(strip, FORMATS[media_type])

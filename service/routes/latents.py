"""Latents: sample, upload, read, delete, look at."""

from __future__ import annotations

import json
from typing import Annotated, Any

import torch
from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from ni_core.bundles import Bundle
from ni_core.generators.protocol import Generator, Space, require_space, sample_z
from ni_core.latents import Latent, LatentFormat, decode_latent, encode_latent
from service.answers import FORMATS, IMAGE_CONTENT, is_unchanged, problems
from service.dependencies import Services, ServicesDep
from service.errors import InvalidFieldError, MalformedBodyError
from service.negotiation import negotiate
from service.scenes import read_latent, stored_scene
from service.schemas import LatentAnswer, LatentFile, LatentSample, LatentValues
from service.uploads import Upload, media_type_of, read_upload, refuse_unknown
from service.views import latent_answer, latent_with_values
from worker.contracts import LatentRecord

router = APIRouter(tags=["latents"], responses=problems(401, 503))

FILE_TYPES: dict[str, LatentFormat] = {
    "application/vnd.safetensors": "safetensors",
    "application/x-npy": "npy",
}
"""Media type -> latent file format."""

BARE_TYPES = ("application/octet-stream", *FILE_TYPES)
READABLE = ("application/json", *FILE_TYPES)
LatentId = Annotated[str, Path(max_length=128, description="From POST /invert or POST /latents.")]

Sent = LatentSample | LatentValues | LatentFile


@router.post(
    "/latents",
    status_code=201,
    summary="Sample or upload a latent",
    response_model=LatentAnswer,
    responses=problems(400, 404, 409, 413, 415, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            {"$ref": f"#/components/schemas/{model.__name__}"}
                            for model in (LatentSample, LatentValues, LatentFile)
                        ]
                    },
                    "example": {"model": "portraits", "seed": 7, "psi": 0.7},
                },
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "file": {"type": "string", "format": "binary"},
                            "model": {"type": "string"},
                            "space": {"enum": ["z", "w", "w+"]},
                        },
                    }
                },
                **{name: {"schema": {"type": "string", "format": "binary"}} for name in BARE_TYPES},
            },
        },
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
            for name, schema, text in (
                ("model", {"type": "string"}, "Bundle, where the body is a bare file."),
                ("space", {"enum": ["z", "w", "w+"]}, "Space, where the shape leaves a choice."),
            )
        ],
    },
)
async def create_latent(request: Request, services: ServicesDep, response: Response) -> Any:
    """Draw a latent by seed, or store your own: numbers in JSON, npy or safetensors."""
    if media_type_of(request) == "application/json":
        sent = _parse(await request.body())
        record = await services.run(_store_sent, services, sent)
    else:
        upload = await read_upload(request, file_field="file", max_files=1, bare=BARE_TYPES)
        record = await services.run(_store_file, services, upload)
    response.headers["Location"] = f"/latents/{record.id}"
    return latent_answer(record)


@router.get(
    "/latents/{latent_id}",
    summary="Read a latent",
    response_model=LatentAnswer,
    responses={
        200: {
            "description": "The latent, by `Accept`.",
            "content": {
                name: {"schema": {"type": "string", "format": "binary"}} for name in FILE_TYPES
            },
        },
        **problems(404, 406, 410),
    },
)
def read_stored(latent_id: LatentId, request: Request, services: ServicesDep) -> Response:
    """JSON with the numbers, or a safetensors or npy file."""
    media_type = negotiate(request.headers.get("accept"), READABLE)
    record, latent = services.store.get_latent(latent_id)
    if media_type == "application/json":
        return Response(latent_with_values(record, latent).model_dump_json(), media_type=media_type)
    format = FILE_TYPES[media_type]
    headers = {
        "Content-Disposition": f'attachment; filename="{record.id}.{format}"',
        "X-Latent-Space": record.space,
        "Expires-At": record.expires_at.isoformat(),
        "Vary": "Accept",
    }
    return Response(encode_latent(latent, format), media_type=media_type, headers=headers)


@router.delete(
    "/latents/{latent_id}",
    status_code=204,
    summary="Delete a latent",
    response_class=Response,
    responses=problems(404, 410),
)
def delete_latent(latent_id: LatentId, services: ServicesDep) -> Response:
    """Forget it at once; its id answers 410 from then on."""
    services.store.delete_latent(latent_id)
    return Response(status_code=204)


@router.get(
    "/latents/{latent_id}/image",
    summary="Regenerate the picture of a latent",
    response_class=Response,
    responses={
        200: {"description": "The picture, by `Accept`.", "content": IMAGE_CONTENT},
        304: {"description": "What `If-None-Match` names still holds."},
        **problems(404, 406, 409, 410),
    },
)
async def read_image(latent_id: LatentId, request: Request, services: ServicesDep) -> Response:
    """What the generator makes of the latent; png, webp or jpeg."""
    media_type = negotiate(request.headers.get("accept"), tuple(FORMATS))
    scene = await services.run(stored_scene, services, latent_id)
    etag = f'"{latent_id}.{scene.latent.generator}.{FORMATS[media_type]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept"}
    if is_unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    _, content = await services.picture(
        lambda: (scene.bundle, scene.synthesis_input(), None), FORMATS[media_type]
    )
    return Response(content, media_type=media_type, headers=headers)


def _parse(body: bytes) -> Sent:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedBodyError(f"the body is not JSON: {error}") from error
    named = sent if isinstance(sent, dict) else {}
    shape: type[Sent] = LatentSample
    if "values" in named or "data" in named:
        shape = LatentValues if "values" in named else LatentFile
    try:
        return shape.model_validate(sent)
    except ValidationError as error:
        errors = [{**item, "loc": ("body", *item["loc"])} for item in error.errors()]
        raise RequestValidationError(errors) from error


def _store_sent(services: Services, sent: Sent) -> LatentRecord:
    name = sent.model or services.settings.default_model
    bundle = services.models.get(name)
    if isinstance(sent, LatentSample):
        return services.store.put_latent(_sample(bundle, sent), model=name, method="sample")
    return services.store.put_latent(read_latent(sent, bundle), model=name, method="upload")


def _store_file(services: Services, upload: Upload) -> LatentRecord:
    refuse_unknown(upload.fields, ("model", "space"))
    name = upload.fields.get("model") or services.settings.default_model
    bundle = services.models.get(name)
    given = upload.fields.get("space")
    space = require_space(bundle.generator, given) if given else None
    latent = decode_latent(upload.files[0], bundle.generator, space)
    return services.store.put_latent(latent, model=name, method="upload")


def _sample(bundle: Bundle, sample: LatentSample) -> Latent:
    generator = bundle.generator
    space = require_space(generator, sample.space or _usual_space(generator))
    _check_sample(generator, sample, space)
    z = sample_z(generator, 1, seed=sample.seed)
    tensor = z[0] if space == "z" else _mapped(generator, z, sample, space)
    return Latent(tensor.cpu().contiguous(), space, generator.fingerprint)


def _usual_space(generator: Generator) -> Space:
    """W where there is one: a w is small, can be truncated and holds the class."""
    order: tuple[Space, ...] = ("w", "w+", "z")
    return next(space for space in order if space in generator.spaces)


def _check_sample(generator: Generator, sample: LatentSample, space: Space) -> None:
    if space == "z" and sample.psi != 1.0:
        raise InvalidFieldError(
            f"psi {sample.psi} truncates in W; space z takes 1 only", field="psi", limit=1.0
        )
    if sample.label is None:
        return
    if sample.label >= generator.num_classes:
        classes = f"0 to {generator.num_classes - 1}" if generator.num_classes else "none"
        raise InvalidFieldError(
            f"label {sample.label} is not one of the model's classes: {classes}",
            field="label",
            value=sample.label,
            limit=generator.num_classes - 1 if generator.num_classes else None,
        )
    if space == "z":
        raise InvalidFieldError(
            f"label {sample.label} acts in the mapping; a latent in z does not keep it",
            field="label",
            value=sample.label,
        )


@torch.inference_mode()
def _mapped(
    generator: Generator, z: torch.Tensor, sample: LatentSample, space: Space
) -> torch.Tensor:
    labels = torch.tensor([sample.label or 0], device=generator.device)
    w = generator.map(z.to(generator.device), labels)
    w_plus = generator.broadcast(w, sample.psi)[0]
    return w_plus if space == "w+" else w_plus[0]

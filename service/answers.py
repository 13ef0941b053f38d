"""What routes share in writing answers."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, get_args

from fastapi import Request

from ni_core.images import MEDIA_TYPES
from service.schemas import Problem

ImageFormat = Literal["png", "webp", "jpeg"]

FORMATS: dict[str, ImageFormat] = {MEDIA_TYPES[name]: name for name in get_args(ImageFormat)}
"""Media type -> format of single pictures, our favourite first."""

IMAGE_CONTENT: dict[str, Any] = {
    media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in FORMATS
}
"""For OpenAPI: the answer is a picture."""


def strong_etag(content: bytes) -> str:
    """A tag that changes with every byte."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_unchanged(request: Request, etag: str) -> bool:
    """Whether the client's `If-None-Match` names this tag."""
    shown = request.headers.get("if-none-match", "")
    tags = [tag.strip().removeprefix("W/") for tag in shown.split(",")]
    return etag in tags or "*" in tags


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the problem answers of a route."""
    content = {"application/problem+json": {"schema": PROBLEM_SCHEMA}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


PROBLEM_SCHEMA = {"$ref": f"#/components/schemas/{Problem.__name__}"}

_MEANINGS = {
    400: "The body cannot be read.",
    401: "An API key is needed.",
    404: "Nothing has this name or id.",
    406: "None of the accepted media types can be written.",
    409: "The latent belongs to another generator.",
    410: "It has expired or was deleted.",
    413: "The body, or a picture in it, is larger than the limit.",
    415: "The body's media type is not read here.",
    422: "A field or a picture cannot be used; the answer names value and limit.",
    503: "Too much waits, or the store does not answer; see Retry-After.",
}

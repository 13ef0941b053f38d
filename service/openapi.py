"""openapi.yaml: written from the app, and held equal to it by a test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.schemas import EditAnswer, LatentFile, LatentSample, LatentValues, Problem

DESCRIPTION = """\
A photo in, the latent code of a pretrained GAN that regenerates it out; directions of that GAN;
and edited pictures from slider weights, fast enough to drag a slider.

Inversions are jobs: `POST /invert` answers 202 with the job's address. Edits are rendered at once.
Whatever expires says `expires_at`; after that its id answers 410. Every error is an RFC 9457
problem whose `type` leads to `GET /problems/{slug}`.
"""

TAGS = (
    ("invert", "Pictures in."),
    ("jobs", "Inversions under way and done."),
    ("latents", "Latent codes: sample, upload, download, look at."),
    ("directions", "What a slider can change."),
    ("edit", "Edited pictures out."),
    ("models", "Bundles and what they can do."),
    ("health", "Probes and figures."),
    ("problems", "What errors mean."),
)

# Schemas of bodies and answers that routes read or write without FastAPI's help.
_FURTHER_SCHEMAS = (Problem, EditAnswer, LatentSample, LatentValues, LatentFile)


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        summary="GAN inversion and semantic editing over HTTP",
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS],
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, further = models_json_schema(
        [(model, "serialization") for model in _FURTHER_SCHEMAS],
        ref_template="#/components/schemas/{model}",
    )
    for name, schema in further["$defs"].items():
        schemas.setdefault(name, schema)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{}, {"bearer": []}, {"header": []}]
    for operation in _operations(document):
        _use_problems(operation)
    return document


def openapi_yaml() -> str:
    """The document of an app with default settings, as YAML; openapi.yaml holds it."""
    from service.app import create_app  # which imports this module
    from service.settings import ServiceSettings

    return to_yaml(create_app(ServiceSettings()).openapi())


def write(path: Path) -> None:
    """Write openapi.yaml."""
    path.write_text(openapi_yaml(), "utf-8")


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _use_problems(operation: dict[str, Any]) -> None:
    """FastAPI documents its own validation error, which here is a problem like every other."""
    answer = operation["responses"].get("422", {})
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    if "HTTPValidationError" in schema.get("$ref", ""):
        reference = {"$ref": f"#/components/schemas/{Problem.__name__}"}
        operation["responses"]["422"] = {
            "description": "A field cannot be used; the answer names value and limit.",
            "content": {"application/problem+json": {"schema": reference}},
        }


_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/{}.-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def to_yaml(value: Any) -> str:
    """JSON values as YAML 1.2, keys in their order."""
    return "\n".join(_lines(value, 0)) + "\n"


def _lines(value: Any, depth: int) -> Iterator[str]:
    indent = "  " * depth
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", item, depth)
    elif isinstance(value, list) and value:
        for item in value:
            first, *rest = _lines(item, depth + 1)
            yield f"{indent}- {first.lstrip()}"
            yield from rest
    else:
        yield f"{indent}{_scalar(value)}"


def _entry(head: str, item: Any, depth: int) -> Iterator[str]:
    if isinstance(item, dict | list) and item:
        yield head
        yield from _lines(item, depth + 1)
    elif isinstance(item, str) and "\n" in item and not item.startswith((" ", "\n")):
        yield f"{head} |{'' if item.endswith(chr(10)) else '-'}"
        for line in item.rstrip("\n").split("\n"):
            yield f"{'  ' * (depth + 1)}{line}" if line else ""
    else:
        yield f"{head} {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and "." not in text:
        return text.replace("e", ".0e")  # older readers take 1e-05 for text
    return text

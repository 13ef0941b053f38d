"""The body of POST /invert for openapi.yaml, made from the methods' own option tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ni_core.inversion import METHODS, option_schema

_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}


def _property(option: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(option["type"])
    schema: dict[str, Any] = {"type": _TYPES.get(kind, kind), "description": option["meaning"]}
    for ours, theirs in (("minimum", "minimum"), ("maximum", "maximum"), ("choices", "enum")):
        if option.get(ours) is not None:
            schema[theirs] = option[ours]
    if option.get("default") is not None:
        schema["default"] = option["default"]
    return schema


def _form() -> dict[str, Any]:
    properties: dict[str, Any] = {
        "image": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "format": "binary"},
            "description": "Pictures: PNG, JPEG, WebP, GIF, BMP or TIFF. Several are one batch.",
        },
        "model": {"type": "string", "description": "Bundle; the default one if left out."},
        "method": {
            "type": "string",
            "enum": ["auto", *METHODS],
            "default": "auto",
            "description": "How to invert; auto takes the best the model has.",
        },
    }
    for method in METHODS:
        for option in option_schema(method):
            properties.setdefault(option["name"], _property(option))
    return {"type": "object", "required": ["image"], "properties": properties}


_BINARY = {
    "schema": {"type": "string", "format": "binary"},
}

REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "description": "A form, or a bare picture with the other fields in the query string.",
    "content": {
        "multipart/form-data": {
            "schema": _form(),
            "encoding": {"image": {"contentType": "image/*"}},
        },
        "image/*": _BINARY,
    },
}

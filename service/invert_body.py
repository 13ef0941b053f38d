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


def _options_by_name() -> dict[str, dict[str, Mapping[str, Any]]]:
    """Options by name, then by method."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for method in METHODS:
        for option in option_schema(method):
            found.setdefault(option["name"], {})[method] = option
    return found


def _joint_property(options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One field for the options of several methods: that of the first, with every meaning."""
    first, *others = options.values()
    schema = _property(first)
    if any(other["meaning"] != first["meaning"] for other in others):
        meanings = [f"{method}: {option['meaning']}" for method, option in options.items()]
        schema["description"] = " ".join(meanings)
    if any(other["default"] != first["default"] for other in others):
        schema.pop("default", None)
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
    for name, options in _options_by_name().items():
        properties[name] = _joint_property(options)
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

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from service.openapi import openapi_yaml, to_yaml
from tests.conftest import REPOSITORY

COMMITTED = REPOSITORY / "openapi.yaml"


@pytest.fixture(scope="module")
def document() -> Any:
    """The committed document."""
    return yaml.safe_load(COMMITTED.read_text("utf-8"))


def operations(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_committed_document_is_the_apps() -> None:
    assert COMMITTED.read_text("utf-8") == openapi_yaml(), "run `make openapi`"


def test_the_app_serves_the_document(client: httpx.Client, document: Any) -> None:
    assert client.get("/openapi.json").json() == document
    assert yaml.safe_load(client.get("/openapi.yaml").text) == document


def test_every_call_of_the_design_is_there(document: Any) -> None:
    assert {name for name, _ in operations(document)} >= {
        "POST /invert",
        "GET /jobs",
        "GET /jobs/{job_id}",
        "DELETE /jobs/{job_id}",
        "GET /jobs/{job_id}/events",
        "POST /latents",
        "GET /latents/{latent_id}",
        "DELETE /latents/{latent_id}",
        "GET /latents/{latent_id}/image",
        "GET /directions",
        "POST /edit",
        "POST /edit/sweep",
        "GET /models",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
    }


def test_every_call_says_what_it_does_and_how_it_fails(document: Any) -> None:
    for name, operation in operations(document):
        assert operation["summary"] and operation["description"] and operation["tags"], name
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{name} {parameter['name']}"
        for status, answer in operation["responses"].items():
            assert answer["description"], name
            if status.startswith(("4", "5")) and "health" not in name:
                assert list(answer["content"]) == ["application/problem+json"], name


def test_every_reference_leads_somewhere(document: Any) -> None:
    known = document["components"]["schemas"]
    references = [
        part.split('"')[0] for part in json.dumps(document).split('"#/components/schemas/')[1:]
    ]
    assert references and set(references) <= set(known)
    assert {"HTTPValidationError", "ValidationError"}.isdisjoint(known)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30)
    | st.sampled_from(["no", "1.0", "- a", "a: b", "# c", "", " ", "two\nlines", "x\n", "null"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab: -", max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(json_values)
def test_any_value_survives_the_way_through_yaml(value: Any) -> None:
    assert yaml.safe_load(to_yaml(value)) == value

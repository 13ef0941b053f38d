from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

import ni_core.errors
import service.errors
import worker.errors
from ni_core.errors import NiError
from service.app import create_app
from service.problems import PROBLEM_TYPES, json_safe, problem_response
from service.settings import ServiceSettings
from tests.service.problem import expect_problem
from worker.errors import FAILURE_CODES


def errors_below(error: type[NiError]) -> Iterator[type[NiError]]:
    yield error
    for lower in error.__subclasses__():
        yield from errors_below(lower)


def test_every_error_and_failure_has_a_row_in_the_table() -> None:
    assert ni_core.errors and service.errors and worker.errors
    product = ("ni_core", "worker", "service")
    codes = {
        error.code for error in errors_below(NiError) if error.__module__.split(".")[0] in product
    }
    assert codes | set(FAILURE_CODES) <= set(PROBLEM_TYPES)


@pytest.mark.parametrize("slug", PROBLEM_TYPES)
def test_the_type_of_a_problem_leads_somewhere(client: httpx.Client, slug: str) -> None:
    row = client.get(f"/problems/{slug}").json()
    assert row == {
        "type": f"/problems/{slug}",
        "slug": slug,
        "status": PROBLEM_TYPES[slug].status,
        "title": PROBLEM_TYPES[slug].title,
    }


def test_all_problem_types_are_listed(client: httpx.Client) -> None:
    listed = client.get("/problems").json()["problems"]
    assert {row["slug"] for row in listed} == set(PROBLEM_TYPES)


def test_an_unknown_address_is_a_problem(client: httpx.Client) -> None:
    expect_problem(client.get("/nowhere"), "not-found", "/nowhere")
    expect_problem(client.get("/problems/none"), "not-found", "none")
    expect_problem(client.get("/studio/../../etc/passwd"), "not-found")


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(client: httpx.Client) -> None:
    answer = client.put("/edit")
    expect_problem(answer, "method-not-allowed", "PUT", "POST")
    assert answer.headers["allow"] == "POST"


async def broken() -> None:
    raise RuntimeError("the password is 1234")


def test_an_unexpected_error_tells_nothing_but_its_request_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app: FastAPI = create_app(ServiceSettings(default_model="tiny"))
    app.add_api_route("/broken", broken)

    import anyio

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/broken", headers={"X-Request-Id": "abc-1"})

    answer = anyio.run(ask)
    problem = expect_problem(answer, "internal")
    assert problem["request_id"] == answer.headers["x-request-id"] == "abc-1"
    assert "1234" not in answer.text
    assert "abc-1" in caplog.text and "1234" in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_any_value_can_stand_in_a_problem(value: object) -> None:
    answer = problem_response("invalid-field", "detail", members={"value": value, "status": value})
    problem = json.loads(bytes(answer.body))
    assert problem["status"] == 422
    assert json.loads(json.dumps(json_safe(value), allow_nan=False)) == problem["value"]

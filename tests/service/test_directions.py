from __future__ import annotations

import httpx
import numpy as np
import pytest

from tests.service.problem import expect_problem


def test_directions_are_listed_the_strongest_first(client: httpx.Client) -> None:
    answer = client.get("/directions", params={"layers": "0-2", "k": 3, "model": "tiny"})
    listing = answer.json()
    assert (listing["model"], listing["method"], listing["layers"]) == ("tiny", "sefa", "0-2")
    found = listing["directions"]
    assert [direction["id"] for direction in found] == ["sefa.0-2.0", "sefa.0-2.1", "sefa.0-2.2"]
    assert [direction["index"] for direction in found] == [0, 1, 2]
    eigenvalues = [direction["eigenvalue"] for direction in found]
    assert eigenvalues == sorted(eigenvalues, reverse=True)
    assert all(low < 0 < high for low, high in (direction["range"] for direction in found))
    assert "vector" not in found[0]


def test_vectors_come_if_they_are_asked_for(client: httpx.Client) -> None:
    found = client.get("/directions?k=32&vectors=true").json()["directions"]
    vectors = np.array([direction["vector"] for direction in found])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(32), atol=1e-4)


def test_all_layers_and_eight_directions_are_the_default(client: httpx.Client) -> None:
    listing = client.get("/directions").json()
    assert (listing["layers"], len(listing["directions"])) == ("0-5", 8)


def test_the_layers_text_is_answered_in_its_shortest_form(client: httpx.Client) -> None:
    assert client.get("/directions?layers=3,1,0,2,5").json()["layers"] == "0-3,5"


def test_what_the_client_has_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/directions?layers=0-2")
    etag = first.headers["etag"]
    assert not etag.startswith("W/")
    again = client.get("/directions?layers=2,1,0", headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = client.get("/directions?layers=0-3", headers={"If-None-Match": etag})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("query", "slug", "mentions"),
    [
        ("layers=0-18", "invalid-layers", ("0-18", "6")),
        ("layers=6", "invalid-layers", ("6", "0-5")),
        ("layers=3-1", "invalid-layers", ("3-1",)),
        ("layers=some", "invalid-layers", ("some",)),
        ("layers=", "invalid-layers", ()),
        ("layers=" + "1," * 150, "invalid-field", ("layers", "200")),
        ("k=0", "invalid-field", ("k", "0", "1")),
        ("k=many", "invalid-field", ("k", "many")),
        ("k=33", "invalid-option", ("33", "32")),
        ("k=100000", "invalid-field", ("100000", "512")),
        ("method=magic", "unknown-method", ("magic", "sefa")),
        ("model=nobody", "unknown-model", ("nobody", "tiny")),
        ("vectors=perhaps", "invalid-field", ("vectors", "perhaps")),
    ],
)
def test_a_wrong_question_is_refused_by_name_value_and_limit(
    client: httpx.Client, query: str, slug: str, mentions: tuple[str, ...]
) -> None:
    expect_problem(client.get(f"/directions?{query}"), slug, *mentions)

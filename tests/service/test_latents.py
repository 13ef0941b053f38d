from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest

from ni_core.bundles import Bundle
from ni_core.latents import Latent, decode_latent, encode_latent
from tests.service import pictures
from tests.service.problem import expect_problem
from worker.store import Store


def create(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/latents", json=fields)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=True)
    return buffer.getvalue()


def test_a_sample_is_stored_and_can_be_read(client: httpx.Client) -> None:
    answer = create(client, model="tiny", seed=7, psi=0.7)
    latent = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == latent["links"]["self"] == f"/latents/{latent['id']}"
    assert (latent["method"], latent["space"], latent["shape"]) == ("sample", "w", [32])
    assert latent["expires_at"] > latent["created_at"]
    read = client.get(answer.headers["location"]).json()
    assert {**latent, "values": read["values"]} == read
    assert np.shape(read["values"]) == (32,)


def test_equal_seeds_give_equal_latents(client: httpx.Client) -> None:
    values = [
        client.get(create(client, seed=seed, space="w+").headers["location"]).json()["values"]
        for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]
    assert np.shape(values[0]) == (6, 32)


def test_truncation_goes_to_the_average(client: httpx.Client, tiny_bundle: Bundle) -> None:
    read = client.get(create(client, seed=1, psi=0).headers["location"]).json()
    np.testing.assert_allclose(read["values"], tiny_bundle.generator.w_avg.numpy(), atol=1e-6)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
@pytest.mark.parametrize("format", ["npy", "safetensors"])
def test_a_downloaded_latent_can_be_uploaded_again_bit_by_bit(
    client: httpx.Client, store: Store, space: str, format: str
) -> None:
    first = create(client, seed=3, space=space).json()
    media_type = {"npy": "application/x-npy", "safetensors": "application/vnd.safetensors"}[format]
    file = client.get(f"/latents/{first['id']}", headers={"Accept": media_type})
    assert file.headers["content-type"] == media_type
    assert f"{first['id']}.{format}" in file.headers["content-disposition"]
    second = client.post(
        f"/latents?space={space}", content=file.content, headers={"Content-Type": media_type}
    )
    assert second.status_code == 201
    before, after = (store.get_latent(found["id"])[1] for found in (first, second.json()))
    assert before.tensor.equal(after.tensor)
    assert before.space == after.space == space


def test_a_latent_can_come_as_a_form_or_as_json(client: httpx.Client, tiny_bundle: Bundle) -> None:
    w_avg = tiny_bundle.generator.w_avg
    file = encode_latent(Latent(w_avg, "w", tiny_bundle.generator.fingerprint))
    form = client.post("/latents", files={"file": file}, data={"model": "tiny"})
    text = base64.b64encode(file).decode()
    for answer in (
        form,
        create(client, data=text),
        create(client, space="w", values=w_avg.tolist()),
    ):
        assert answer.status_code == 201, answer.text
        read = client.get(answer.headers["location"], headers={"Accept": "application/x-npy"})
        stored = decode_latent(read.content, tiny_bundle.generator, "w")
        assert stored.tensor.equal(w_avg)
        assert answer.json()["method"] == "upload"


@pytest.mark.parametrize(
    ("accept", "start"),
    [("*/*", b"\x89PNG"), ("image/webp", b"RIFF"), ("image/jpeg", b"\xff\xd8\xff")],
)
def test_the_picture_comes_in_the_format_that_is_accepted(
    client: httpx.Client, latent_id: str, accept: str, start: bytes
) -> None:
    answer = client.get(f"/latents/{latent_id}/image", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.content.startswith(start)
    assert pictures.pixels_of(answer.content).shape == (16, 16, 3)


def test_a_picture_that_is_known_is_not_sent_again(client: httpx.Client, latent_id: str) -> None:
    path = f"/latents/{latent_id}/image"
    etag = client.get(path).headers["etag"]
    again = client.get(path, headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    webp = client.get(path, headers={"If-None-Match": etag, "Accept": "image/webp"})
    assert webp.status_code == 200


@pytest.mark.parametrize("path", ["", "/image"])
def test_other_formats_are_refused_with_what_is_available(
    client: httpx.Client, latent_id: str, path: str
) -> None:
    answer = client.get(f"/latents/{latent_id}{path}", headers={"Accept": "text/html"})
    problem = expect_problem(answer, "not-acceptable", "text/html")
    assert problem["available"]


def test_a_deleted_latent_is_gone(client: httpx.Client, latent_id: str) -> None:
    assert client.delete(f"/latents/{latent_id}").status_code == 204
    for answer in (
        client.get(f"/latents/{latent_id}"),
        client.get(f"/latents/{latent_id}/image"),
        client.delete(f"/latents/{latent_id}"),
        client.post("/edit", json={"latent": latent_id}),
    ):
        expect_problem(answer, "gone", latent_id)


@pytest.mark.parametrize("name", ["0" * 32, "..", "a b", "%00", "x" * 100, "é"])
def test_an_unknown_latent_is_not_found(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/latents/{name}/image")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("body", "slug", "mentions"),
    [
        (b"{", "malformed-body", ("JSON",)),
        (b"", "malformed-body", ("JSON",)),
        (b"[" * 50_000, "malformed-body", ("JSON",)),
        (b"\xff\xfe", "malformed-body", ("JSON",)),
        (b"7", "invalid-field", ("7",)),
        (b'{"sed": 1}', "invalid-field", ("sed",)),
        (b'{"seed": "one"}', "invalid-field", ("seed", "one")),
        (b'{"seed": -1}', "invalid-field", ("seed", "-1", "0")),
        (b'{"seed": 1e400}', "invalid-field", ("seed",)),
        (b'{"psi": NaN}', "invalid-field", ("psi", "nan")),
        (b'{"psi": 3}', "invalid-field", ("psi", "3", "2")),
        (b'{"space": "v"}', "invalid-field", ("space", "v")),
        (b'{"model": "nobody"}', "unknown-model", ("nobody", "tiny")),
        (b'{"space": "w", "values": [1, 2]}', "invalid-latent", ("[2]", "[32]")),
        (b'{"space": "w", "values": [[1], [2, 3]]}', "invalid-latent", ()),
        (b'{"space": "w", "values": ["a"]}', "invalid-latent", ()),
        (b'{"space": "w", "values": 3}', "invalid-field", ("values", "3")),
        (b'{"values": [1]}', "invalid-field", ("space",)),
        (b'{"data": "***"}', "invalid-latent", ("base64",)),
        (b'{"data": "AAAA"}', "invalid-latent", ()),
    ],
)
def test_bad_json_is_refused_by_name_and_value(
    client: httpx.Client, body: bytes, slug: str, mentions: tuple[str, ...]
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/latents", content=body, headers=headers)
    expect_problem(answer, slug, *mentions)


@pytest.mark.parametrize(
    ("file", "query", "slug", "mention"),
    [
        (b"nothing", "", "invalid-latent", ""),
        (npy([1.0] * 31), "", "invalid-latent", "[31]"),
        (npy([[1.0] * 32] * 5), "", "invalid-latent", "[5, 32]"),
        (npy([1.0] * 32), "", "invalid-latent", "name one"),
        (npy([float("nan")] * 32), "?space=w", "invalid-latent", "nan"),
        (npy([{"pickle": 1}]), "", "invalid-latent", ""),
        (npy([1.0] * 32), "?space=v", "space-not-available", "v"),
        (npy([1.0] * 32), "?model=nobody", "unknown-model", "nobody"),
        (npy([1.0] * 32), "?colour=red", "invalid-field", "colour"),
        (b"", "", "malformed-body", "empty"),
    ],
)
def test_a_bad_file_is_refused(
    client: httpx.Client, file: bytes, query: str, slug: str, mention: str
) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    answer = client.post(f"/latents{query}", content=file, headers=headers)
    expect_problem(answer, slug, mention)


def test_a_latent_of_another_generator_is_refused(
    client: httpx.Client, tiny_bundle: Bundle
) -> None:
    foreign = encode_latent(Latent(tiny_bundle.generator.w_avg, "w", "another"))
    answer = client.post(
        "/latents", content=foreign, headers={"Content-Type": "application/vnd.safetensors"}
    )
    expect_problem(answer, "generator-mismatch", "another")


def test_z_is_not_truncated(client: httpx.Client) -> None:
    expect_problem(create(client, space="z", psi=0.5), "invalid-field", "psi", "0.5")

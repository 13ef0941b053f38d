from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service import pictures
from tests.service.conftest import Serve
from tests.service.problem import expect_problem


def edit(client: httpx.Client, latent: Any, accept: str = "*/*", **fields: Any) -> httpx.Response:
    headers = {"Accept": accept}
    return client.post("/edit", json={"latent": latent, **fields}, headers=headers)


def test_a_weight_changes_the_picture(client: httpx.Client, latent_id: str) -> None:
    plain = client.get(f"/latents/{latent_id}/image").content
    answer = edit(client, latent_id, weights={"0": 4.0}, layers="0-2")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert (pictures.pixels_of(answer.content) != pictures.pixels_of(plain)).any()


@pytest.mark.parametrize("weights", [{}, {"0": 0}, {"1": 0.0, "sefa.0-2.1": -0.0}])
def test_weight_zero_gives_the_same_bytes(
    client: httpx.Client, latent_id: str, weights: dict[str, float]
) -> None:
    plain = client.get(f"/latents/{latent_id}/image").content
    assert edit(client, latent_id, weights=weights).content == plain


def test_an_index_means_the_direction_of_these_layers(client: httpx.Client, latent_id: str) -> None:
    by_index = edit(client, latent_id, weights={"1": 3}, layers="0-2").content
    assert edit(client, latent_id, weights={"sefa.0-2.1": 3}).content == by_index
    assert (
        edit(client, latent_id, weights={"1": 1, "sefa.0-2.1": 2}, layers="0-2").content == by_index
    )
    everywhere = edit(client, latent_id, weights={"1": 3}).content
    assert everywhere == edit(client, latent_id, weights={"sefa.0-5.1": 3}).content != by_index


def test_layers_can_differ_from_those_of_a_direction(client: httpx.Client, latent_id: str) -> None:
    saved = edit(client, latent_id, weights={"sefa.0-2.1": 3}, layers="4-5", save=True)
    before = np.array(client.get(f"/latents/{latent_id}").json()["values"])
    after = np.array(client.get(saved.headers["location"]).json()["values"])
    assert (after[:4] == before).all()
    assert (after[4:] != before).any(axis=1).all()


def test_edits_add_up(client: httpx.Client, latent_id: str) -> None:
    both = edit(client, latent_id, weights={"0": 2, "1": -1}, save=True)
    first = edit(client, latent_id, weights={"0": 2}, save=True).headers["x-latent-id"]
    then = edit(client, first, weights={"1": -1}, save=True)
    values = [client.get(answer.headers["location"]).json()["values"] for answer in (both, then)]
    np.testing.assert_allclose(values[0], values[1], atol=1e-5)


def test_a_saved_edit_is_a_latent(client: httpx.Client, latent_id: str) -> None:
    answer = edit(client, latent_id, weights={"0": 2}, save=True)
    saved = client.get(answer.headers["location"]).json()
    assert saved["id"] == answer.headers["x-latent-id"]
    assert (saved["method"], saved["space"]) == ("edit", "w+")
    assert answer.headers["expires-at"].startswith(saved["expires_at"][:19])
    assert client.get(saved["links"]["image"]).content == answer.content


def test_an_edit_that_is_not_saved_leaves_nothing(client: httpx.Client, latent_id: str) -> None:
    answer = edit(client, latent_id, weights={"0": 2})
    assert "location" not in answer.headers and "x-latent-id" not in answer.headers


def test_the_answer_can_be_json(client: httpx.Client, latent_id: str) -> None:
    picture = edit(client, latent_id, weights={"0": 2}).content
    answer = edit(client, latent_id, "application/json", weights={"0": 2}, save=True).json()
    assert base64.b64decode(answer["image"]) == picture
    assert answer["media_type"] == "image/png"
    assert answer["links"]["latent"] == f"/latents/{answer['latent']}"
    unsaved = edit(client, latent_id, "application/json").json()
    assert unsaved["latent"] is None and unsaved["links"] == {"latent": None, "image": None}


@pytest.mark.parametrize(
    ("accept", "start"), [("image/webp", b"RIFF"), ("image/jpeg, */*;q=0.1", b"\xff\xd8\xff")]
)
def test_the_picture_comes_in_the_format_that_is_accepted(
    client: httpx.Client, latent_id: str, accept: str, start: bytes
) -> None:
    assert edit(client, latent_id, accept).content.startswith(start)


def test_a_latent_can_be_given_inline(client: httpx.Client, latent_id: str) -> None:
    by_id = edit(client, latent_id, weights={"0": 2}).content
    values = client.get(f"/latents/{latent_id}").json()["values"]
    assert edit(client, {"space": "w", "values": values}, weights={"0": 2}).content == by_id
    for media_type in ("application/x-npy", "application/vnd.safetensors"):
        file = client.get(f"/latents/{latent_id}", headers={"Accept": media_type}).content
        data = base64.b64encode(file).decode()
        assert edit(client, {"data": data, "space": "w"}, weights={"0": 2}).content == by_id


def test_psi_zero_is_the_average_whoever_it_was(client: httpx.Client, latent_id: str) -> None:
    other = client.post("/latents", json={"seed": 8}).json()["id"]
    assert edit(client, latent_id, psi=0).content == edit(client, other, psi=0).content
    assert edit(client, latent_id, psi=1).content == edit(client, latent_id).content


def raw(field: str) -> bytes:
    return f'{{"latent": "LATENT", {field}}}'.encode()


@pytest.mark.parametrize(
    ("body", "slug", "mentions"),
    [
        (b"", "invalid-field", ("body",)),
        (b"{", "malformed-body", ("JSON",)),
        (b"[]", "invalid-field", ()),
        (b"null", "invalid-field", ()),
        (b"{}", "invalid-field", ("latent",)),
        (b'{"latent": 7}', "invalid-field", ("latent", "7")),
        (b'{"latent": ""}', "invalid-field", ("latent",)),
        (b'{"latent": "nobody"}', "not-found", ("nobody",)),
        (b'{"latent": {"space": "w+", "values": [1]}}', "invalid-latent", ("[1]", "[6, 32]")),
        (b'{"latent": {"space": "w", "values": [1], "model": "no"}}', "unknown-model", ("no",)),
        (raw('"wieghts": {}'), "invalid-field", ("wieghts",)),
        (raw('"weights": [1]'), "invalid-field", ("weights",)),
        (raw('"weights": {"0": NaN}'), "invalid-weight", ("0", "nan")),
        (raw('"weights": {"0": Infinity}'), "invalid-weight", ("0", "inf")),
        (raw('"weights": {"0": 1e999}'), "invalid-weight", ("inf",)),
        (raw('"weights": {"0": 100.5}'), "invalid-weight", ("0", "100.5", "100")),
        (raw('"weights": {"0": "2"}'), "invalid-field", ("weights.0", "2")),
        (raw('"weights": {"0": true}'), "invalid-field", ("weights.0", "true")),
        (raw('"weights": {"0": null}'), "invalid-field", ("weights.0", "null")),
        (raw('"weights": {"32": 1}'), "unknown-direction", ("32", "31")),
        (raw('"weights": {"99999999999": 1}'), "unknown-direction", ()),
        (raw('"weights": {"-1": 1}'), "unknown-direction", ("-1",)),
        (raw('"weights": {"smile": 1}'), "unknown-direction", ("smile",)),
        (raw('"weights": {"magic.0-2.1": 1}'), "unknown-method", ("magic", "sefa")),
        (raw('"weights": {"sefa.0-9.1": 1}'), "invalid-layers", ("0-9", "6")),
        (raw('"weights": {"3": 1}, "k": 3'), "unknown-direction", ("3", "k")),
        (raw('"weights": {"0": 1}, "k": 0'), "invalid-field", ("k", "0")),
        (raw('"weights": {"0": 1}, "layers": "0-18"'), "invalid-layers", ("0-18", "6")),
        (raw('"layers": "x"'), "invalid-layers", ("x",)),
        (raw('"layers": 3'), "invalid-field", ("layers", "3")),
        (raw('"weights": {"0": 1}, "method": "magic"'), "unknown-method", ("magic",)),
        (raw('"psi": 5'), "invalid-field", ("psi", "5", "2")),
        (raw('"psi": "1"'), "invalid-field", ("psi", "1")),
        (raw('"psi": NaN'), "invalid-field", ("psi", "nan")),
        (raw('"save": "yes"'), "invalid-field", ("save", "yes")),
    ],
)
def test_a_bad_edit_is_refused_by_name_value_and_limit(
    client: httpx.Client, latent_id: str, body: bytes, slug: str, mentions: tuple[str, ...]
) -> None:
    content = body.replace(b"LATENT", latent_id.encode())
    answer = client.post("/edit", content=content, headers={"Content-Type": "application/json"})
    expect_problem(answer, slug, *mentions)


def test_the_number_of_weights_is_limited(client: httpx.Client, latent_id: str) -> None:
    weights = {f"sefa.0-2.{index}": 0.1 for index in range(65)}
    expect_problem(edit(client, latent_id, weights=weights), "invalid-field", "65", "64")


def test_an_unacceptable_format_is_refused_with_what_is_available(
    client: httpx.Client, latent_id: str
) -> None:
    problem = expect_problem(edit(client, latent_id, "image/tiff"), "not-acceptable", "image/tiff")
    assert "image/webp" in problem["available"]


def test_a_body_over_the_limit_is_refused(client: httpx.Client) -> None:
    body = b'{"latent": "' + b"x" * 200_000
    answer = client.post("/edit", content=body, headers={"Content-Type": "application/json"})
    expect_problem(answer, "body-too-large", "100000")

    chunks = iter([b" " * 10_000] * 100)
    answer = client.post("/edit", content=chunks, headers={"Content-Type": "application/json"})
    expect_problem(answer, "body-too-large", "100000")


def test_edits_that_come_together_are_each_answered_with_their_own_picture(
    client: httpx.Client, latent_id: str
) -> None:
    weights = [float(weight) for weight in range(-12, 12)]
    alone = [edit(client, latent_id, weights={"0": weight}).content for weight in weights]
    with ThreadPoolExecutor(12) as threads:
        together = list(
            threads.map(lambda weight: edit(client, latent_id, weights={"0": weight}), weights)
        )
    for one, other in zip(alone, together, strict=True):
        difference = pictures.pixels_of(one).astype(int) - pictures.pixels_of(other.content)
        assert abs(difference).max() <= 1  # batches of another size may round differently


def test_too_many_edits_at_once_are_refused_with_a_time_to_retry(serve: Serve) -> None:
    small = serve(render_queue_limit=1, render_batch=1)
    latent = small.post("/latents", json={"seed": 1}).json()["id"]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda index: edit(small, latent), range(64)))
    refused = [answer for answer in answers if answer.status_code != 200]
    for answer in refused:
        expect_problem(answer, "busy", "1")
        assert int(answer.headers["retry-after"]) >= 1


def sweep(client: httpx.Client, latent: str, accept: str, **fields: Any) -> httpx.Response:
    body = {"latent": latent, "direction": "0", "frames": 5, **fields}
    return client.post("/edit/sweep", json=body, headers={"Accept": accept})


def test_a_sweep_is_a_film_strip(client: httpx.Client, latent_id: str) -> None:
    answer = sweep(client, latent_id, "image/png", low=-3, high=3)
    strip = pictures.pixels_of(answer.content)
    assert strip.shape[1] >= 5 * 16
    plain = pictures.pixels_of(client.get(f"/latents/{latent_id}/image").content)
    middle = (strip.shape[1] - 16) // 2
    top = (strip.shape[0] - 16) // 2
    assert abs(strip[top : top + 16, middle : middle + 16].astype(int) - plain).max() <= 1


@pytest.mark.parametrize("format", ["webp", "gif"])
def test_a_sweep_can_be_an_animation(client: httpx.Client, latent_id: str, format: str) -> None:
    answer = sweep(client, latent_id, f"image/{format}", direction="sefa.0-2.1")
    assert answer.headers["content-type"] == f"image/{format}"
    with Image.open(io.BytesIO(answer.content)) as animation:
        assert getattr(animation, "n_frames", 1) == 5


@pytest.mark.parametrize(
    ("fields", "slug", "mentions"),
    [
        ({"frames": 1}, "invalid-field", ("frames", "1", "2")),
        ({"frames": 99}, "invalid-field", ("frames", "99", "32")),
        ({"direction": "99"}, "unknown-direction", ("99",)),
        ({"low": -500}, "invalid-weight", ("-500", "100")),
        ({"high": "far"}, "invalid-field", ("high", "far")),
        ({"frame_s": 0}, "invalid-field", ("frame_s", "0")),
    ],
)
def test_a_bad_sweep_is_refused(
    client: httpx.Client,
    latent_id: str,
    fields: dict[str, Any],
    slug: str,
    mentions: tuple[str, ...],
) -> None:
    expect_problem(sweep(client, latent_id, "*/*", **fields), slug, *mentions)

"""Models that are not like the default one: only z, classes, a w for every row, own directions."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from redis import Redis

from ni_core.bundles import Bundle, load_bundle, write_tiny_bundle
from ni_core.latents import Latent, encode_latent
from tests.bundles import (
    CONDITIONAL,
    ROW_MAPPING,
    Z_ONLY,
    add_directions,
    imported,
    unit,
    write_bundle,
)
from tests.conftest import RedisServer, WorkerProcess, short_settings, wait_until
from tests.service import pictures
from tests.service.conftest import service_settings, serving
from tests.service.problem import expect_problem
from worker.connection import connect
from worker.store import Store

FAMILIES = {
    "plain": ("pggan", Z_ONLY),
    "classes": ("stylegan2", CONDITIONAL),
    "rows": ("stylegan1", ROW_MAPPING),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of each kind, and `tiny` with directions of its own."""
    directory = tmp_path_factory.mktemp("models")
    for name, (family, config) in FAMILIES.items():
        write_bundle(directory, name, family, config)
    tiny = write_tiny_bundle(directory)
    smile, noise = imported("smile", unit(32, 3), layers=(0, 1)), imported("noise", unit(32, 4))
    pose = imported("pose", unit(32, 5).repeat(6, 1))
    in_z = imported("before", unit(32, 6), space="z", source="ganspace: a.npz")
    add_directions(tiny, [smile, noise, pose, in_z])
    add_directions(directory / "plain", [imported("smile", unit(24, 3), space="z", deviation=2.0)])
    return directory


@pytest.fixture(scope="module")
def service(session_redis: RedisServer, directory: Path) -> Iterator[httpx.Client]:
    with serving(service_settings(session_redis.url, directory)) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200, "the service is ready")
        yield client


@pytest.fixture(scope="module")
def plain(directory: Path) -> Bundle:
    return load_bundle(directory / "plain")


def sampled(service: httpx.Client, model: str, **fields: Any) -> dict[str, Any]:
    answer = service.post("/latents", json={"model": model, "seed": 7, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def values(service: httpx.Client, latent_id: str) -> Any:
    return np.array(service.get(f"/latents/{latent_id}").json()["values"])


def edit(service: httpx.Client, latent: Any, **fields: Any) -> httpx.Response:
    return service.post("/edit", json={"latent": latent, **fields})


def saved(service: httpx.Client, latent: Any, **fields: Any) -> Any:
    answer = edit(service, latent, save=True, **fields)
    assert answer.status_code == 200, answer.text
    return service.get(answer.headers["location"]).json()


def test_models_say_what_they_are(service: httpx.Client) -> None:
    models = {model["name"]: model for model in service.get("/models").json()["models"]}
    assert models["plain"]["spaces"] == ["z"]
    assert (models["plain"]["num_layers"], models["plain"]["w_dim"]) == (0, 0)
    assert models["rows"]["spaces"] == ["z", "w+"]
    assert [models[name]["num_classes"] for name in ("plain", "classes", "tiny")] == [0, 3, 0]
    assert models["tiny"]["direction_methods"] == ["sefa", "imported"]
    assert models["rows"]["direction_methods"] == ["sefa"]
    assert all(models[name]["domain"] == {} for name in FAMILIES)


@pytest.mark.parametrize(
    ("model", "space", "shape"),
    [("plain", "z", [24]), ("classes", "w", [32]), ("rows", "w+", [6, 32]), ("tiny", "w", [32])],
)
def test_a_sample_is_stored_in_the_space_that_suits_the_model_and_can_be_edited(
    service: httpx.Client, model: str, space: str, shape: list[int]
) -> None:
    latent = sampled(service, model)
    assert (latent["space"], latent["shape"]) == (space, shape)
    picture = service.get(latent["links"]["image"]).content
    assert pictures.pixels_of(picture).shape == (16, 16, 3)
    assert edit(service, latent["id"], weights={"0": 0}).content == picture
    assert edit(service, latent["id"], weights={"0": 3}).content != picture


@pytest.mark.parametrize("model", FAMILIES)
def test_equal_seeds_give_equal_latents(service: httpx.Client, model: str) -> None:
    first, second = sampled(service, model), sampled(service, model)
    assert (values(service, first["id"]) == values(service, second["id"])).all()


def test_directions_of_a_model_with_only_z_are_in_z(service: httpx.Client) -> None:
    listing = service.get("/directions?model=plain&k=24").json()
    assert listing["layers"] == "all"
    first = listing["directions"][0]
    assert (first["id"], first["space"], first["layers"]) == ("sefa.z.0", "z", "all")
    assert first["range"] == pytest.approx((-3, 3))
    (smile,) = service.get("/directions?model=plain&method=imported").json()["directions"]
    assert (smile["id"], smile["name"], smile["eigenvalue"]) == ("imported.z.0", "smile", None)
    assert smile["range"] == pytest.approx((-6, 6))


def test_rows_of_a_model_with_only_z_are_refused_because_there_are_none(
    service: httpx.Client,
) -> None:
    answer = service.get("/directions?model=plain&layers=0-5")
    expect_problem(answer, "invalid-layers", "0-5", "no layers")
    latent = sampled(service, "plain")["id"]
    answer = edit(service, latent, weights={"0": 1}, layers="0-5")
    expect_problem(answer, "invalid-layers", "no layers")
    answer = edit(service, latent, weights={"sefa.0-5.0": 1})
    expect_problem(answer, "invalid-layers", "no layers")


def test_edits_of_a_model_with_only_z_add_to_z(service: httpx.Client) -> None:
    latent = sampled(service, "plain")["id"]
    moved = saved(service, latent, weights={"imported.z.0": 2}, layers="all")
    assert (moved["space"], moved["shape"]) == ("z", [24])
    difference = np.array(moved["values"]) - values(service, latent)
    np.testing.assert_allclose(difference, 2 * unit(24, 3).numpy(), atol=1e-6)


def test_a_model_with_only_z_has_no_truncation(service: httpx.Client) -> None:
    answer = service.post("/latents", json={"model": "plain", "seed": 1, "psi": 0.7})
    expect_problem(answer, "invalid-field", "psi", "0.7")
    latent = sampled(service, "plain")["id"]
    expect_problem(edit(service, latent, psi=0.7), "invalid-option", "0.7", "only z")


def test_a_model_with_only_z_has_no_other_space(service: httpx.Client) -> None:
    answer = service.post("/latents", json={"model": "plain", "space": "w"})
    expect_problem(answer, "space-not-available", "w", "z")
    fields = {"model": "plain", "space": "w+"}
    answer = service.post("/invert", files={"image": pictures.photo()}, data=fields)
    expect_problem(answer, "space-not-available", "w+", "z")


def test_an_uploaded_latent_needs_no_space_where_there_is_only_z(
    service: httpx.Client, plain: Bundle
) -> None:
    latent = Latent(unit(24, 1), "z", plain.generator.fingerprint)
    file = encode_latent(latent, "npy")
    headers = {"Content-Type": "application/x-npy"}
    answer = service.post("/latents?model=plain", content=file, headers=headers)
    assert (answer.status_code, answer.json()["space"]) == (201, "z")
    inline = {"model": "plain", "data": base64.b64encode(file).decode()}
    by_id = edit(service, answer.json()["id"], weights={"0": 2}).content
    assert edit(service, inline, weights={"0": 2}).content == by_id


def test_a_sweep_follows_a_direction_in_z(service: httpx.Client) -> None:
    body = {"latent": sampled(service, "plain")["id"], "direction": "0", "frames": 3}
    answer = service.post("/edit/sweep", json=body, headers={"Accept": "image/png"})
    strip = pictures.pixels_of(answer.content)
    assert (strip[:, :16] != strip[:, -16:]).any()


@pytest.fixture(scope="module")
def worker(
    session_redis: RedisServer, directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    settings = short_settings(session_redis.url, directory)
    redis: Redis = connect(session_redis.url)
    worker = WorkerProcess(settings, tmp_path_factory.mktemp("worker"), 0)
    yield worker.wait_ready(Store(redis, settings))
    worker.end()
    redis.close()


@pytest.mark.parametrize(
    ("model", "space"), [("plain", "z"), ("rows", "w+"), ("classes", "w+"), ("classes", "w")]
)
@pytest.mark.usefixtures("worker")
def test_a_photo_is_inverted_and_edited(service: httpx.Client, model: str, space: str) -> None:
    fields = {"model": model, "steps": "4"} | ({"space": space} if space == "w" else {})
    answer = service.post(
        "/invert",
        files={"image": pictures.photo()},
        data=fields,
        headers={"Prefer": "wait=25"},
    )
    assert answer.json()["status"] == "succeeded", answer.text
    (latent,) = answer.json()["result"]["latents"]
    assert latent["space"] == space
    plain = service.get(latent["links"]["image"]).content
    assert edit(service, latent["id"], weights={"0": 0}).content == plain
    assert edit(service, latent["id"], weights={"0": 3}).content != plain


def test_a_label_chooses_the_class(service: httpx.Client) -> None:
    found = [values(service, sampled(service, "classes", label=label)["id"]) for label in (0, 1, 2)]
    assert not any((found[i] == found[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
    default = values(service, sampled(service, "classes")["id"])
    assert (default == found[0]).all()


@pytest.mark.parametrize(
    ("fields", "mentions"),
    [
        ({"model": "classes", "label": 3}, ("label", "3", "2")),
        ({"model": "classes", "label": -1}, ("label", "-1", "0")),
        ({"model": "classes", "label": "1"}, ("label", "1")),
        ({"model": "classes", "label": 1, "space": "z"}, ("label", "z")),
        ({"model": "tiny", "label": 0}, ("label", "0")),
    ],
)
def test_a_label_that_means_nothing_is_refused(
    service: httpx.Client, fields: dict[str, Any], mentions: tuple[str, ...]
) -> None:
    expect_problem(service.post("/latents", json=fields), "invalid-field", *mentions)


def test_imported_directions_are_listed_with_names_rows_and_source(service: httpx.Client) -> None:
    listing = service.get("/directions?model=tiny&method=imported&vectors=true").json()
    found = listing["directions"]
    assert [one["name"] for one in found] == ["smile", "noise", "pose", "before"]
    assert [one["layers"] for one in found] == ["0-1", "0-5", "0-5", "0-5"]
    assert [one["id"] for one in found] == [
        "imported.0-1.0",
        "imported.0-5.1",
        "imported.0-5.2",
        "imported.0-5.3",
    ]
    assert [one["space"] for one in found] == ["w", "w", "w", "z"]
    assert found[3]["source"] == "ganspace: a.npz"
    assert np.shape(found[0]["vector"]) == (32,) and np.shape(found[2]["vector"]) == (6, 32)


def test_an_index_keeps_an_imported_direction_on_its_own_rows(service: httpx.Client) -> None:
    latent = sampled(service, "tiny", space="w+")["id"]
    by_index = saved(service, latent, weights={"0": 2}, method="imported")
    by_id = saved(service, latent, weights={"imported.0-1.0": 2})
    assert by_index["values"] == by_id["values"]
    changed = (np.array(by_id["values"]) != values(service, latent)).any(axis=1)
    assert changed.tolist() == [True, True, False, False, False, False]


def test_layers_move_an_imported_direction_to_other_rows(service: httpx.Client) -> None:
    latent = sampled(service, "tiny", space="w+")["id"]
    moved = saved(service, latent, weights={"0": 2}, method="imported", layers="4-5")
    changed = (np.array(moved["values"]) != values(service, latent)).any(axis=1)
    assert changed.tolist() == [False, False, False, False, True, True]


def test_directions_of_z_and_w_and_sefa_can_be_mixed(service: httpx.Client) -> None:
    latent = sampled(service, "tiny", space="z")["id"]
    weights = {"imported.0-5.3": 1, "imported.0-1.0": 2, "sefa.2-3.0": -1}
    moved = saved(service, latent, weights=weights)
    assert (moved["space"], moved["shape"]) == ("w+", [6, 32])
    expected = np.array(saved(service, latent, weights={"imported.0-5.3": 1})["values"])
    expected[:2, 3] += 2
    np.testing.assert_allclose(np.array(moved["values"])[[0, 1, 4, 5]], expected[[0, 1, 4, 5]])


def test_a_direction_in_z_needs_a_latent_in_z(service: httpx.Client) -> None:
    answer = edit(service, sampled(service, "tiny")["id"], weights={"imported.0-5.3": 1})
    expect_problem(answer, "space-not-available", "imported.0-5.3", "w")


def test_a_model_without_imported_directions_says_what_to_do(service: httpx.Client) -> None:
    answer = service.get("/directions?model=rows&method=imported")
    expect_problem(answer, "unknown-method", "imported", "directions", "ni models import")

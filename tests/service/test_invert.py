from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from ni_core.images import decode_image
from tests.service import pictures
from tests.service.conftest import Serve
from tests.service.problem import expect_problem
from worker.queue import JobQueue
from worker.store import Store

ODD_BUT_GOOD = (
    pictures.cmyk,
    pictures.sixteen_bit,
    pictures.palette,
    pictures.alpha,
    pictures.rotated,
    pictures.animated,
    pictures.one_pixel,
)

BAD = (
    (b"", "invalid-image", "0 bytes"),
    (b"not a picture at all", "invalid-image", "20 bytes"),
    (pictures.truncated(), "invalid-image", ""),
    (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "invalid-image", ""),
    (pictures.fifty_megapixels(), "image-too-large", "50,000,000"),
)


def invert(client: httpx.Client, *files: bytes, **fields: str) -> httpx.Response:
    return client.post("/invert", files=[("image", ("photo", file)) for file in files], data=fields)


def test_a_picture_becomes_a_queued_job(client: httpx.Client, queue: JobQueue) -> None:
    answer = invert(client, pictures.photo(), steps="20", seed="3")
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{job['id']}" == job["links"]["self"]
    assert int(answer.headers["retry-after"]) >= 1
    assert (job["kind"], job["status"], job["queue_position"]) == ("inversion", "queued", 1)
    assert job["request"]["model"] == "tiny"
    assert (job["request"]["options"]["steps"], job["request"]["options"]["seed"]) == (20, 3)
    assert len(queue.rq.get_job_ids()) == 1


def test_a_picture_may_be_the_whole_body(client: httpx.Client) -> None:
    form = invert(client, pictures.photo(), steps="20").json()
    for media_type in ("image/png", "application/octet-stream"):
        bare = client.post(
            "/invert?steps=20&model=tiny",
            content=pictures.photo(),
            headers={"Content-Type": media_type},
        )
        assert bare.status_code == 202
        assert bare.json()["id"] == form["id"]


def test_a_plus_sign_in_the_query_needs_no_escape(client: httpx.Client) -> None:
    answer = client.post(
        "/invert?space=w+", content=pictures.photo(), headers={"Content-Type": "image/png"}
    )
    assert answer.json()["request"]["options"]["space"] == "w+"


def test_several_pictures_are_one_job(client: httpx.Client) -> None:
    job = invert(client, pictures.photo(1), pictures.photo(2)).json()
    assert len(set(job["request"]["images"])) == 2


def test_the_same_work_again_joins_the_job_that_waits(client: httpx.Client) -> None:
    first = invert(client, pictures.photo(), steps="20").json()
    assert invert(client, pictures.photo(), method="auto", steps="20").json()["id"] == first["id"]
    assert invert(client, pictures.photo(), steps="21").json()["id"] != first["id"]
    assert invert(client, pictures.photo(9), steps="20").json()["id"] != first["id"]


@pytest.mark.parametrize("picture", ODD_BUT_GOOD, ids=lambda make: make.__name__)
def test_a_worker_gets_every_odd_picture_as_upright_rgb_of_the_models_size(
    client: httpx.Client, store: Store, picture: Callable[[], bytes]
) -> None:
    answer = invert(client, picture())
    assert answer.status_code == 202, answer.text
    (image_id,) = answer.json()["request"]["images"]
    stored = store.get_image(image_id)
    assert stored.startswith(b"\x89PNG")
    assert tuple(decode_image(stored).shape) == (3, 16, 16)


@pytest.mark.parametrize(
    ("file", "slug", "mention"), BAD, ids=["empty", "text", "truncated", "header", "50 megapixels"]
)
def test_a_bad_picture_is_refused_and_no_worker_sees_it(
    client: httpx.Client, queue: JobQueue, file: bytes, slug: str, mention: str
) -> None:
    expect_problem(invert(client, pictures.photo(), file), slug, mention)
    assert queue.rq.get_job_ids() == []


@pytest.mark.parametrize(
    ("fields", "slug", "mentions"),
    [
        ({"model": "nobody"}, "unknown-model", ("nobody", "tiny")),
        ({"model": "../../etc"}, "unknown-model", ("tiny",)),
        ({"method": "magic"}, "unknown-method", ("magic", "optimize")),
        ({"space": "v"}, "invalid-option", ("space", "w+")),
        ({"steps": "many"}, "invalid-option", ("steps", "many")),
        ({"steps": "0"}, "invalid-option", ("steps", "0", "1")),
        ({"steps": "1.5"}, "invalid-option", ("steps", "1.5")),
        ({"steps": "1000000"}, "invalid-option", ("steps", "1000000", "5000")),
        ({"budget_seconds": "nan"}, "invalid-option", ("budget_seconds", "nan")),
        ({"target_lpips": "-1"}, "invalid-option", ("target_lpips", "-1")),
        ({"seed": "-4"}, "invalid-option", ("seed", "-4")),
        ({"features_coefficient": "1"}, "invalid-option", ("1", "tiny", "ni train contrastive")),
        ({"colour": "red"}, "invalid-option", ("colour", "steps")),
    ],
)
def test_a_wrong_field_is_refused_by_name_value_and_limit(
    client: httpx.Client, fields: dict[str, str], slug: str, mentions: tuple[str, ...]
) -> None:
    expect_problem(invert(client, pictures.photo(), **fields), slug, *mentions)


def test_a_form_without_a_picture_is_refused(client: httpx.Client) -> None:
    answer = client.post("/invert", files={"steps": (None, "20")})
    expect_problem(answer, "invalid-field", "image")


def test_a_file_in_the_wrong_field_is_refused(client: httpx.Client) -> None:
    answer = client.post("/invert", files={"photo": pictures.photo()})
    expect_problem(answer, "invalid-field", "photo", "image")


def test_a_picture_given_as_text_is_refused(client: httpx.Client) -> None:
    answer = client.post("/invert", files={"image": (None, "portrait.png")})
    expect_problem(answer, "invalid-field", "image", "file")


def test_a_field_given_twice_is_refused(client: httpx.Client) -> None:
    answer = client.post("/invert?steps=3", files={"image": pictures.photo()}, data={"steps": "4"})
    expect_problem(answer, "invalid-field", "steps", "twice")


def test_too_many_pictures_are_refused(client: httpx.Client) -> None:
    expect_problem(invert(client, *[pictures.photo()] * 17), "invalid-field", "16")


@pytest.mark.parametrize("media_type", ["text/plain", "application/json", ""])
def test_other_media_types_are_refused(client: httpx.Client, media_type: str) -> None:
    answer = client.post("/invert", content=b"{}", headers={"Content-Type": media_type})
    expect_problem(answer, "unsupported-media-type", "multipart/form-data")


def test_an_empty_body_is_refused(client: httpx.Client) -> None:
    answer = client.post("/invert", headers={"Content-Type": "image/png"})
    expect_problem(answer, "malformed-body", "empty")


@pytest.mark.parametrize(
    "content", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--\r\n"]
)
def test_a_broken_form_is_refused(client: httpx.Client, content: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/invert", content=content, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_form_without_a_boundary_is_refused(client: httpx.Client) -> None:
    answer = client.post("/invert", content=b"x", headers={"Content-Type": "multipart/form-data"})
    expect_problem(answer, "malformed-body")


def test_waiting_ends_when_the_time_is_over(client: httpx.Client) -> None:
    answer = client.post("/invert", files={"image": pictures.photo()}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"


def test_a_full_queue_refuses_with_a_time_to_retry(serve: Serve) -> None:
    small = serve(queue_limit=1)
    assert invert(small, pictures.photo(1)).status_code == 202
    answer = invert(small, pictures.photo(2))
    expect_problem(answer, "queue-full", "1")
    assert int(answer.headers["retry-after"]) >= 1


def chunked(chunk: bytes) -> Iterator[bytes]:
    """A long body that does not say its length."""
    yield from [chunk] * 100


@pytest.mark.parametrize("media_type", ["image/png", "multipart/form-data; boundary=x"])
def test_a_body_over_the_limit_is_cut_off_while_it_is_read(serve: Serve, media_type: str) -> None:
    small = serve(max_upload_bytes=20_000)
    start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    headers = {"Content-Type": media_type}
    announced = small.post("/invert", content=start + b"0" * 30_000, headers=headers)
    expect_problem(announced, "body-too-large", "20000", str(30_000 + len(start)))
    unannounced = small.post("/invert", content=chunked(start + b"0" * 9000), headers=headers)
    expect_problem(unannounced, "body-too-large", "20000")


def test_pixels_have_a_limit_of_their_own(serve: Serve) -> None:
    small = serve(max_image_px=500)
    expect_problem(invert(small, pictures.photo(side=24)), "image-too-large", "576", "500")

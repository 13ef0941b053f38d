from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import NotAcceptableError
from service.negotiation import negotiate

TYPES = ("image/png", "image/webp", "image/jpeg", "application/json")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "image/png"),
        ("", "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/webp", "image/webp"),
        ("IMAGE/WebP ; q=0.3", "image/webp"),
        ("image/webp;q=0.5, image/jpeg;q=0.9", "image/jpeg"),
        ("image/png;q=0, */*", "image/webp"),
        ("text/html, application/json;q=0.1", "application/json"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", "image/png"),
        ("application/*", "application/json"),
        ("image/png;q=0.1, image/*;q=0.2", "image/webp"),
    ],
)
def test_the_client_gets_what_it_likes_best(accept: str | None, chosen: str) -> None:
    assert negotiate(accept, TYPES) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/png;q=wrong", "nonsense"])
def test_nothing_acceptable_is_refused_with_what_is_available(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="image/webp") as caught:
        negotiate(accept, ("image/png", "image/webp"))
    assert caught.value.details["available"] == ["image/png", "image/webp"]


@given(st.text(max_size=60))
def test_any_text_gives_one_of_ours_or_is_refused(accept: str) -> None:
    with contextlib.suppress(NotAcceptableError):
        assert negotiate(accept, TYPES) in TYPES

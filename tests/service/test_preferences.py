from __future__ import annotations

import pytest

from service.preferences import preferred_wait_s


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        (None, 0),
        ("", 0),
        ("wait=5", 5),
        ("wait=90", 60),
        ('respond-async, wait="7"', 7),
        ("Wait = 3; x", 3),
        ("wait=-1", 0),
        ("wait=soon", 0),
        ("await=5", 0),
    ],
)
def test_the_preferred_wait_is_read_and_capped(prefer: str | None, wait_s: float) -> None:
    assert preferred_wait_s(prefer, limit_s=60) == wait_s

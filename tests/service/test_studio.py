from __future__ import annotations

import httpx
import pytest


@pytest.mark.parametrize("path", ["/", "/studio", "/studio/"])
def test_the_studio_opens(client: httpx.Client, path: str) -> None:
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_the_studio_may_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    policy = client.get("/studio/").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "img-src 'self' blob: data:" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/studio/none.js", "/studio/..%2F..%2Fsettings.py"])
def test_the_studio_serves_its_own_files_only(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404

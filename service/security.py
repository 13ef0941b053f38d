"""API keys: known by their digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import UnauthorizedError
from service.problems import domain_problem

OPEN_PATHS = ("/health", "/studio", "/docs", "/openapi.json", "/openapi.yaml", "/problems")
"""First parts of the addresses that never need a key."""


class Authentication:
    """Lets a request pass that shows a known key, before anything of its body is read."""

    def __init__(self, app: ASGIApp, digests: Sequence[str]) -> None:
        self.app = app
        self.digests = tuple(digests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.digests or is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        try:
            check_key(key_of(Headers(scope=scope)), self.digests)
        except UnauthorizedError as error:
            await domain_problem(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def is_open(path: str) -> bool:
    """Whether an address answers without a key."""
    return path == "/" or any(path == open or path.startswith(f"{open}/") for open in OPEN_PATHS)


def key_of(headers: Headers) -> str | None:
    """The key a request shows, in `Authorization: Bearer` or in `X-API-Key`."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return headers.get("x-api-key")


def check_key(key: str | None, digests: Sequence[str]) -> None:
    """Compare a key with every known one, each in constant time.

    Raises:
        UnauthorizedError: There is no key, or an unknown one.
    """
    if key is None:
        raise UnauthorizedError("send an API key as Authorization: Bearer <key> or X-API-Key")
    shown = digest_of(key)
    matches = [hmac.compare_digest(shown, known) for known in digests]
    if not any(matches):
        raise UnauthorizedError("this API key is not known")


def digest_of(key: str) -> str:
    """The digest by which a key is configured: SHA-256, hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()

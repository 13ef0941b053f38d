"""Which format an answer takes: `Accept` with quality values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from service.errors import NotAcceptableError


@lru_cache(maxsize=256)
def negotiate(accept: str | None, available: tuple[str, ...]) -> str:
    """Choose the media type the client likes best; at equal liking, the first of ours.

    Args:
        accept: The `Accept` header; absent or empty means anything.
        available: Media types we can write, our favourite first.

    Raises:
        NotAcceptableError: None of ours is accepted.
    """
    if not accept or not accept.strip():
        return available[0]
    ranges = _parse(accept)
    best = max(available, key=lambda media_type: _quality(media_type, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptableError(accept[:200], available)
    return best


def _parse(accept: str) -> tuple[tuple[str, float], ...]:
    return tuple(_parse_range(part) for part in accept.split(",")[:50] if part.strip())


def _parse_range(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media_range, _parse_quality(value)
    return media_range, 1.0


def _parse_quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that covers a media type, 0 if none does."""
    kind = media_type.split("/")[0]
    for pattern in (media_type, f"{kind}/*", "*/*"):
        for media_range, quality in ranges:
            if media_range == pattern:
                return quality
    return 0.0

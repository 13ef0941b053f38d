"""`Prefer: wait=N` (RFC 7240): the caller would rather wait than poll."""

from __future__ import annotations

import re

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)


def preferred_wait_s(prefer: str | None, limit_s: float) -> float:
    """Seconds to wait, at most `limit_s`; 0 where nothing (readable) is preferred."""
    found = _WAIT.search(prefer or "")
    return min(float(found[1]), limit_s) if found else 0.0

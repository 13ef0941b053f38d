"""What can be wrong with a request before any model is asked.

    NiError
    └── RequestError                    carries headers for its answer
        ├── MalformedBodyError          the body is not in the format it says
        ├── BodyTooLargeError           cut off while it was read
        ├── InvalidFieldError           a field is unknown, missing, mistyped or out of range
        ├── UnsupportedMediaTypeError   a body format this call does not read
        ├── NotAcceptableError          an answer format this call does not write
        ├── UnauthorizedError           no API key, or a wrong one
        └── BusyError                   more is waiting than the limit allows

`service.problems` gives each its status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from starlette.exceptions import HTTPException

from ni_core.errors import Detail, NiError


class RequestError(NiError):
    """Base of the errors about a request."""

    code: ClassVar[str] = "invalid-request"
    headers: Mapping[str, str] | None

    def __init__(
        self, message: str, *, headers: Mapping[str, str] | None = None, **details: Detail
    ) -> None:
        super().__init__(message, **details)
        self.headers = headers


class MalformedBodyError(RequestError):
    code = "malformed-body"


class BodyTooLargeError(RequestError, HTTPException):
    """Is an `HTTPException` too, so that the framework lets it out of its body parser."""

    code = "body-too-large"
    status_code = 413

    def __init__(self, limit_bytes: int, received_bytes: int) -> None:
        message = f"a body of {received_bytes} bytes or more exceeds {limit_bytes} bytes"
        # Otherwise the server would go on reading, and the client sending, what nobody wants.
        close = {"Connection": "close"}
        RequestError.__init__(self, message, headers=close, value=received_bytes, limit=limit_bytes)
        self.detail = message


class InvalidFieldError(RequestError):
    code = "invalid-field"


class UnsupportedMediaTypeError(RequestError):
    code = "unsupported-media-type"

    def __init__(self, media_type: str, allowed: Sequence[str]) -> None:
        named = media_type or "no Content-Type"
        super().__init__(
            f"{named} is not read here: send {', '.join(allowed)}",
            value=media_type,
            available=list(allowed),
            headers={"Accept-Post": ", ".join(allowed)},
        )


class NotAcceptableError(RequestError):
    code = "not-acceptable"

    def __init__(self, accept: str, available: Sequence[str]) -> None:
        super().__init__(
            f"nothing here matches Accept: {accept}; available are {', '.join(available)}",
            value=accept,
            available=list(available),
        )


class UnauthorizedError(RequestError):
    code = "unauthorized"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": 'Bearer realm="neural-inversion"'})


class BusyError(RequestError):
    code = "busy"

    def __init__(self, message: str, *, retry_after_s: int, **details: Detail) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_s)}, **details)

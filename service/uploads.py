"""Reads what callers upload: multipart forms or bare bodies, with options beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.requests import Request

from service.errors import InvalidFieldError, MalformedBodyError, UnsupportedMediaTypeError

MAX_FIELDS = 64
"""Most options of one form."""
MAX_FIELD_BYTES = 64 * 1024
"""Longest option of a form, in bytes."""


@dataclass(frozen=True)
class Upload:
    """Files in their order, and options as text."""

    files: tuple[bytes, ...]
    fields: dict[str, str]


def media_type_of(request: Request) -> str:
    """The body's media type in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_upload(
    request: Request, *, file_field: str, max_files: int, bare: Iterable[str]
) -> Upload:
    """Read a multipart form, or a bare body whose options stand in the query string.

    Args:
        request: Its body has not been read.
        file_field: Name of the form's file parts.
        max_files: Most files of one form.
        bare: Media types of a bare body; one that ends in `/*` stands for all of its kind.

    Raises:
        UnsupportedMediaTypeError: The body is neither.
        InvalidFieldError: A field is given twice, or a file where a field belongs.
        MalformedBodyError: There is no body.
    """
    media_type = media_type_of(request)
    query = _query(request)
    if media_type == "multipart/form-data":
        return await _read_form(request, query, file_field, max_files)
    allowed = ("multipart/form-data", *bare)
    if media_type not in allowed and f"{media_type.split('/')[0]}/*" not in allowed:
        raise UnsupportedMediaTypeError(media_type, allowed)
    body = await request.body()
    if not body:
        raise MalformedBodyError(f"the body is empty: send a {media_type} file", value=0)
    return Upload((body,), _each_once(query))


def _query(request: Request) -> list[tuple[str, str]]:
    """The query's fields; `space=w+`, where the plus sign should be escaped, is understood."""
    fields = request.query_params.multi_items()
    return [(key, "w+" if (key, text) == ("space", "w ") else text) for key, text in fields]


async def _read_form(
    request: Request, query: list[tuple[str, str]], file_field: str, max_files: int
) -> Upload:
    files: list[bytes] = []
    fields = query
    limits = {"max_fields": MAX_FIELDS, "max_part_size": MAX_FIELD_BYTES}
    async with request.form(max_files=max_files + 1, **limits) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                _expect(name == file_field, f"{name} is a file; files go into {file_field}", name)
                files.append(await value.read())
            else:
                _expect(name != file_field, f"{name} must be a file part with a filename", name)
                fields.append((name, value))
    if not files:
        raise InvalidFieldError(
            f"{file_field} is missing: send at least one file", field=file_field
        )
    if len(files) > max_files:
        raise InvalidFieldError(
            f"more than {max_files} files in {file_field}",
            field=file_field,
            value=len(files),
            limit=max_files,
        )
    return Upload(tuple(files), _each_once(fields))


def _expect(condition: bool, message: str, field: str) -> None:
    if not condition:
        raise InvalidFieldError(message[:300], field=field[:100])


def _each_once(items: list[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in items:
        _expect(name not in fields, f"{name} is given twice", name)
        fields[name] = value
    return fields


def refuse_unknown(fields: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Refuse a field that nothing reads.

    Raises:
        InvalidFieldError: Names the field and the allowed ones.
    """
    known = sorted(allowed)
    for name in fields:
        if name not in known:
            raise InvalidFieldError(
                f"field {name[:100]!r} is unknown; allowed are {', '.join(known)}",
                field=name[:100],
                available=known,
            )

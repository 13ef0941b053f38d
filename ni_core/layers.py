"""The text form of W+ rows: `all`, `0-5`, `1,3,5-7` (ranges inclusive, SeFa's way)."""

from __future__ import annotations

import re

from ni_core.errors import InvalidLayersError

ALL = "all"
"""The text for every row, and the only one for a generator without layers."""

MAX_TEXT_LENGTH = 200
"""Longest layers text that is read, in characters."""

_RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Read a layers text.

    Args:
        text: `all`, or comma-separated rows and inclusive ranges, as in `0-5` or `1,3,5-7`.
        num_layers: Rows of the generator's W+; 0 for a generator with only z.

    Returns:
        The rows, ascending, each once; none for a generator without layers.

    Raises:
        InvalidLayersError: The text cannot be read or names a row the generator lacks.
    """
    stripped = text.strip()
    if len(stripped) > MAX_TEXT_LENGTH:
        raise InvalidLayersError(
            f"layers text of {len(stripped)} characters exceeds {MAX_TEXT_LENGTH}",
            value=len(stripped),
            limit=MAX_TEXT_LENGTH,
        )
    if stripped.lower() == ALL:
        return tuple(range(num_layers))
    if num_layers == 0:
        raise InvalidLayersError(
            f"layers {text!r}: this generator has no layers, only z; write all",
            value=text,
            limit=[ALL],
        )
    rows: set[int] = set()
    for part in stripped.split(","):
        rows.update(_parse_range(part.strip(), text, num_layers))
    return tuple(sorted(rows))


def _parse_range(part: str, text: str, num_layers: int) -> range:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise InvalidLayersError(
            f"layers {text!r} cannot be read: write all, 0-{num_layers - 1} or 1,3,5-7",
            value=text,
        )
    first = int(match[1])
    last = int(match[2] or match[1])
    if first > last:
        raise InvalidLayersError(f"layers {part} run backwards: write {last}-{first}", value=part)
    if last >= num_layers:
        raise InvalidLayersError(
            f"layers {part} exceed the {num_layers} rows of this generator (0-{num_layers - 1})",
            value=part,
            limit=num_layers - 1,
        )
    return range(first, last + 1)


def check_layers(layers: tuple[int, ...], num_layers: int) -> tuple[int, ...]:
    """Return rows given as numbers, sorted and each once.

    Raises:
        InvalidLayersError: There are none, though the generator has layers, or one lies outside
            `0..num_layers - 1`.
    """
    rows = tuple(sorted(set(layers)))
    if not num_layers:
        if rows:
            raise InvalidLayersError(
                f"layers {list(layers)}: this generator has no layers, only z", value=list(layers)
            )
        return rows
    if not rows or rows[0] < 0 or rows[-1] >= num_layers:
        raise InvalidLayersError(
            f"layers {list(layers)} are not among the rows 0-{num_layers - 1} of this generator",
            value=list(layers),
            limit=num_layers - 1,
        )
    return rows


def format_layers(layers: tuple[int, ...]) -> str:
    """Write ascending rows in the shortest text form, as in `0-5` or `1,3,5-7`; none are `all`."""
    if not layers:
        return ALL
    parts: list[str] = []
    start = previous = layers[0]
    for row in (*layers[1:], None):
        if row is not None and row == previous + 1:
            previous = row
            continue
        parts.append(str(start) if start == previous else f"{start}-{previous}")
        if row is not None:
            start = previous = row
    return ",".join(parts)

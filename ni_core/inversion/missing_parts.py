"""What to do about a part that a method needs and a model lacks."""

from __future__ import annotations

from ni_core.bundles.manifest import ANY_ENCODER, LANDSCAPE_PART

_IMPORTED = ("e4e", "psp", "restyle", ANY_ENCODER)
"""Parts that others have trained for their models."""

_TRAINED = ("e4e", "psp", "restyle", "mapper", LANDSCAPE_PART)
"""Parts that `ni train` makes for any generator with W, out of its own samples."""


def how_to_get(part: str, model: str) -> str:
    """Name the commands that give a model a part."""
    ways = []
    if part in _TRAINED:
        ways.append(
            f"make it with `ni train {part} --bundle {model} --out FOLDER` and add it with "
            f"`ni models attach {model} FOLDER`"
        )
    if part in _IMPORTED:
        ways.append("import one with `ni models import --encoder`")
    return ", or ".join(ways)

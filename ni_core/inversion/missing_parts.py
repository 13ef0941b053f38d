"""What to do about a part that a method needs and a model lacks."""

from __future__ import annotations

from ni_core.bundles.manifest import ANY_ENCODER, FEATURES_PART, LANDSCAPE_PART

_IMPORTED = ("e4e", "psp", "restyle", ANY_ENCODER)
"""Parts that others have trained for their models."""

_TRAINED = {
    **{kind: kind for kind in ("e4e", "psp", "restyle", "mapper", LANDSCAPE_PART)},
    FEATURES_PART: "contrastive --data samples",
}
"""What `ni train` is told to make a part for any generator with W, out of its own samples."""


def how_to_get(part: str, model: str) -> str:
    """Name the commands that give a model a part."""
    ways = []
    if part in _TRAINED:
        ways.append(
            f"make it with `ni train {_TRAINED[part]} --bundle {model} --out FOLDER` and add it "
            f"with `ni models attach {model} FOLDER`"
        )
    if part in _IMPORTED:
        ways.append("import one with `ni models import --encoder`")
    return ", or ".join(ways)

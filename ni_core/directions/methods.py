"""The table of direction methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ni_core.bundles import Bundle, Manifest
from ni_core.directions.direction import Direction
from ni_core.directions.imported import find_imported
from ni_core.directions.sefa import find_sefa
from ni_core.errors import UnknownMethodError
from ni_core.generators.families import FAMILIES

STYLES = "style weights"
"""What a generator of a known family has beside the parts of its bundle."""


@dataclass(frozen=True)
class DirectionMethod:
    """One way to come by directions.

    Attributes:
        name: As users write it.
        meaning: One sentence for users.
        needs: Parts a bundle must have, or `STYLES`.
        advice: What to do where one is missing.
        find: From a bundle and rows of W+ to all directions, the strongest first. Where the
            directions have rows of their own, None leaves them these.
        has_own_layers: Whether they do.
    """

    name: str
    meaning: str
    needs: frozenset[str]
    advice: str
    find: Callable[[Bundle, Any], list[Direction]]
    has_own_layers: bool = False


DIRECTION_METHODS: dict[str, DirectionMethod] = {
    method.name: method
    for method in (
        DirectionMethod(
            name="sefa",
            meaning="Closed-form factorisation of the generator's own weights.",
            needs=frozenset({STYLES}),
            advice="directions for it can be imported with `ni models import --directions FILE`",
            find=find_sefa,
        ),
        DirectionMethod(
            name="imported",
            meaning="Directions that came with the model, by name.",
            needs=frozenset({"directions"}),
            advice="`ni models import --directions FILE` gives a model its own",
            find=find_imported,
            has_own_layers=True,
        ),
    )
}
"""All methods by name."""


def available_direction_methods(manifest: Manifest) -> list[str]:
    """Names of the methods that a bundle has the parts for."""
    parts = _parts(manifest)
    return [name for name, method in DIRECTION_METHODS.items() if method.needs <= parts]


def require_direction_method(name: str, bundle: Bundle) -> DirectionMethod:
    """Return a method by name.

    Raises:
        UnknownMethodError: There is no such method, or the bundle lacks a part it needs.
    """
    available = available_direction_methods(bundle.manifest)
    method = DIRECTION_METHODS.get(name)
    if method is None:
        raise UnknownMethodError(
            f"direction method {name[:40]!r} is not one of {', '.join(available)}",
            value=name[:40],
            limit=available,
        )
    if name not in available:
        missing = ", ".join(sorted(method.needs - _parts(bundle.manifest)))
        raise UnknownMethodError(
            f"direction method {name!r} needs {missing}, which {bundle.name} lacks: "
            f"{method.advice}",
            value=name,
            limit=available,
        )
    return method


def _parts(manifest: Manifest) -> frozenset[str]:
    styles = {STYLES} if FAMILIES[manifest.generator.family].has_styles else set()
    return manifest.parts | styles

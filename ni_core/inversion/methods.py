"""The table of inversion methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.manifest import ANY_ENCODER, LANDSCAPE_PART, NetworkPart
from ni_core.errors import InvalidOptionError, UnknownMethodError
from ni_core.generators import Space, require_space
from ni_core.inversion.distance import DistanceOptions, require_features
from ni_core.inversion.encode import EncoderOptions, encode, encoded_space
from ni_core.inversion.landscape import LandscapeOptions, landscape
from ni_core.inversion.missing_parts import how_to_get
from ni_core.inversion.optimize import OptimizeOptions, optimize, space_of
from ni_core.inversion.options import MethodOptions, OptionSchema, parse, schema_of
from ni_core.inversion.report import Found

AUTO = "auto"
"""Stands for the best method a bundle has the parts for."""


@dataclass(frozen=True)
class Method:
    """One way to invert.

    Attributes:
        name: As users write it.
        meaning: One sentence for users.
        needs: Parts a bundle must have.
        options: Dataclass of its options.
        space: `(bundle, options)` to the space of its results.
        run: `(bundle, images, options, *, on_step, start, first_step)` to the latents found.
    """

    name: str
    meaning: str
    needs: frozenset[str]
    options: type[MethodOptions]
    space: Callable[[Bundle, Any], Space]
    run: Callable[..., Found]


def _encoder_method(kind: str, meaning: str) -> Method:
    return Method(
        name=kind,
        meaning=meaning,
        needs=frozenset({"generator", kind}),
        options=EncoderOptions,
        space=lambda bundle, options: encoded_space(bundle, kind, options),
        run=partial(encode, kind=kind),
    )


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="optimize",
            meaning="Gradient descent on the latent: slow, accurate, works with any generator.",
            needs=frozenset({"generator", "trunk"}),
            options=OptimizeOptions,
            space=lambda bundle, options: space_of(bundle.generator, options.space),
            run=optimize,
        ),
        _encoder_method("e4e", "An encoder whose rows stay near one w: fast, and good to edit."),
        _encoder_method("restyle", "An encoder that corrects its guess in a few passes."),
        _encoder_method("psp", "An encoder of one pass, each row of W+ free: fast."),
        _encoder_method(
            "mapper",
            "A small network on frozen features: fast, and completes pictures with holes in grey.",
        ),
        Method(
            name=LANDSCAPE_PART,
            meaning="Plain descent in a learnt space: accurate in few steps.",
            needs=frozenset({"generator", "trunk", LANDSCAPE_PART}),
            options=LandscapeOptions,
            space=lambda bundle, options: require_space(bundle.generator, "w+"),
            run=landscape,
        ),
        _encoder_method(ANY_ENCODER, "The first encoder that the model has, whatever its kind."),
    )
}
"""All methods, the best first: `auto` takes the first one available."""


def available_methods(parts: Collection[str]) -> list[str]:
    """Names of the methods that run on a bundle with these parts, the best first."""
    return [name for name, method in METHODS.items() if method.needs <= set(parts)]


def single_pass_methods(encoders: Mapping[str, NetworkPart]) -> list[str]:
    """Names of the methods that run an encoder of one pass.

    Args:
        encoders: A bundle's encoders by kind, in the order of its manifest.
    """
    parts = dict(encoders)
    if parts:
        parts.setdefault(ANY_ENCODER, next(iter(parts.values())))
    return [kind for kind, part in parts.items() if not part.config.get("refines")]


def require_possible(method: str, options: MethodOptions, summary: Mapping[str, Any]) -> None:
    """Check that a model can do what it is asked for: as many passes, and compare features.

    Args:
        method: A name in `METHODS`.
        options: Its options.
        summary: Of the bundle, from `ModelCache.summary`.

    Raises:
        InvalidOptionError: It cannot.
    """
    if isinstance(options, DistanceOptions):
        require_features(options, summary["features"], summary["name"])
    if method in summary["single_pass"] and options.steps not in (None, 1):
        raise InvalidOptionError(
            f"steps is {options.steps}, but must be 1: {method} of {summary['name']} has a "
            "single pass",
            option="steps",
            value=options.steps,
            limit=1,
        )


def resolve_method(name: str, bundle: Bundle | Mapping[str, Any]) -> str:
    """Return the method meant by a name.

    Args:
        name: A method, or `auto`.
        bundle: A bundle, or its summary.

    Raises:
        UnknownMethodError: There is no such method, or the bundle lacks a part it needs.
    """
    if isinstance(bundle, Mapping):
        model, available = str(bundle["name"]), list(bundle["methods"])
    else:
        model, available = bundle.name, available_methods(bundle.manifest.parts)
    if name == AUTO and available:
        return str(available[0])
    if name in available:
        return name
    raise UnknownMethodError(
        f"method {name!r} is not one of those of {model}: {', '.join([AUTO, *available])}"
        + _how_to_get(name, model),
        value=name,
        limit=[AUTO, *available],
    )


def parse_options(method: str, options: Mapping[str, object]) -> MethodOptions:
    """Check the options of a method and fill in the defaults.

    Args:
        method: A name in `METHODS`.
        options: Values by name; numbers may be texts, None stands for the default.

    Raises:
        InvalidOptionError: An unknown option, a wrong type or a value beyond its limits.
        UnknownMethodError: There is no such method.
    """
    return parse(_method(method).options, options)


def option_schema(method: str) -> list[OptionSchema]:
    """List the options of a method with type, default, limits and meaning, as JSON values.

    Raises:
        UnknownMethodError: There is no such method.
    """
    return schema_of(_method(method).options)


def _how_to_get(name: str, model: str) -> str:
    """Say which part a known method lacks, and how to add it."""
    parts = METHODS[name].needs - {"generator"} if name in METHODS else ()
    ways = [(part, how_to_get(part, model)) for part in parts]
    lines = [f"; it needs the part {part}: {way}" for part, way in ways if way]
    return "".join(lines)


def _method(name: str) -> Method:
    if name not in METHODS:
        raise UnknownMethodError(
            f"method {name!r} is not one of {', '.join(METHODS)}", value=name, limit=list(METHODS)
        )
    return METHODS[name]

"""Options of methods: each a dataclass field that carries its own limits and meaning."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypedDict, TypeVar

from ni_core.errors import InvalidOptionError

Value = int | float | str | bool | None
Options = TypeVar("Options")


class OptionSchema(TypedDict):
    """One option, as JSON; `minimum` and `maximum` are included, null means no limit."""

    name: str
    type: str
    default: Value
    minimum: float | None
    maximum: float | None
    choices: list[str] | None
    meaning: str


def option(
    default: Value,
    meaning: str,
    *,
    type: type = float,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Declare an option: a dataclass field with its type, limits and meaning.

    Args:
        default: Used where the option is not given; None if it then has no effect.
        meaning: One sentence with the unit, shown to users.
        type: int, float, bool or str.
        minimum: Smallest number allowed.
        maximum: Largest number allowed.
        choices: Texts allowed.
    """
    schema = {
        "type": type.__name__,
        "minimum": minimum,
        "maximum": maximum,
        "choices": list(choices) if choices else None,
        "meaning": meaning,
    }
    return dataclasses.field(default=default, metadata=schema)


@dataclasses.dataclass(frozen=True)
class MethodOptions:
    """Options that every method has."""

    steps: int | None = option(
        None, "Steps; by default the method's own number.", type=int, minimum=1, maximum=5000
    )
    space: str | None = option(
        None,
        "Latent space of the result; by default w+, or z where there is no W.",
        type=str,
        choices=("z", "w", "w+"),
    )
    metrics: str = option(
        "all",
        "Measure the result against its target; none leaves that out, and in an encoder of one "
        "pass the picture of the result as well, which takes longer than the pass.",
        type=str,
        choices=("all", "none"),
    )


@dataclasses.dataclass(frozen=True)
class StopOptions(MethodOptions):
    """Options of methods that can stop early."""

    budget_seconds: float | None = option(
        None, "Stop when this time is used up, but not before one step.", minimum=0, maximum=3600
    )
    target_lpips: float | None = option(
        None, "Stop an image once its LPIPS is this low.", minimum=0, maximum=10
    )


@dataclasses.dataclass(frozen=True)
class DescentOptions(StopOptions):
    """Options of the loop, common to all methods that descend."""

    steps: int = option(200, "Steps of the optimiser.", type=int, minimum=1, maximum=5000)
    patience: int = option(
        100,
        "Stop an image after so many steps without its loss falling by 0.1 %; 0 is never.",
        type=int,
        minimum=0,
        maximum=5000,
    )
    optimizer: str = option(
        "soap",
        "SOAP, which is Adam in a basis of each image's own gradients; Adam; or plain gradient "
        "descent.",
        type=str,
        choices=("soap", "adam", "sgd"),
    )
    learning_rate: float | None = option(
        None,
        "Learning rate; by default 0.1 in z, and 0.2 in w and w+, "
        "where the unit is the spread of mapped latents.",
        minimum=1e-6,
        maximum=1000,
    )
    ramp: bool = option(
        True,
        "Raise the learning rate over 5 % of the run, at its beginning and where rows of w+ part; "
        "lower it over the last 25 %.",
        type=bool,
    )
    shared_part: float = option(
        0.1,
        "Part of the run in which the rows of w+ move as one w, before each goes its own way.",
        minimum=0,
        maximum=1,
    )
    prior_coefficient: float | None = option(
        None,
        "Multiplies the mean square of the latent, in units of the spread of mapped latents, of "
        "which it is 1: holds it where edits act as on mapped ones, at a cost in closeness; by "
        "default 0.004 in w+, and 0 in z and w.",
        minimum=0,
        maximum=1e6,
    )
    noise_coefficient: float = option(
        0.0,
        "Above 0, noise maps are optimised too, held white by this much of the noise term.",
        minimum=0,
        maximum=1e6,
    )


def schema_of(options_class: Any) -> list[OptionSchema]:
    """List the options of a class, in order, as JSON values."""
    return [
        OptionSchema(name=field.name, default=field.default, **field.metadata)  # type: ignore[typeddict-item]
        for field in dataclasses.fields(options_class)
    ]


def parse(options_class: type[Options], given: Mapping[str, object]) -> Options:
    """Check options and fill in the defaults.

    Args:
        options_class: Dataclass whose fields are made by `option`.
        given: Values by name. Numbers and booleans may be texts, as they come from forms; None
            stands for the default.

    Raises:
        InvalidOptionError: An unknown name, a wrong type or a value beyond its limits.
    """
    schemas = {schema["name"]: schema for schema in schema_of(options_class)}
    for name in given:
        if name not in schemas:
            raise InvalidOptionError(
                f"option {name!r} is not one of {', '.join(schemas)}",
                option=str(name),
                limit=list(schemas),
            )
    values = {
        name: _read(schemas[name], value) for name, value in given.items() if value is not None
    }
    return options_class(**values)


def _read(schema: OptionSchema, value: object) -> Value:
    """Return `value` as the option's type once it is within the limits."""
    readers = {"int": _integer, "float": _number, "bool": _boolean, "str": _text}
    read = readers[schema["type"]](value)
    if read is None:
        _refuse(schema, value, f"a value of type {schema['type']}")
    choices = schema["choices"]
    if choices is not None and read not in choices:
        _refuse(schema, value, f"one of {', '.join(choices)}", limit=choices)
    if isinstance(read, int | float):
        minimum, maximum = schema["minimum"], schema["maximum"]
        if (minimum is not None and read < minimum) or (maximum is not None and read > maximum):
            _refuse(schema, value, f"from {minimum:g} to {maximum:g}", limit=[minimum, maximum])
    return read


def _refuse(schema: OptionSchema, value: object, wanted: str, **details: Any) -> NoReturn:
    shown = repr(value)[:60]
    raise InvalidOptionError(
        f"{schema['name']} is {shown}, but must be {wanted}",
        option=schema["name"],
        value=shown,
        **details,
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _integer(value: object) -> int | None:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _boolean(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

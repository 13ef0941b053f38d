"""Options are checked against the limits that are published."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ni_core.errors import InvalidOptionError, UnknownMethodError
from ni_core.inversion import METHODS, OptimizeOptions, OptionSchema, option_schema, parse_options

OPTIONS = [(method, schema) for method in METHODS for schema in option_schema(method)]
NUMBERS = [(method, schema) for method, schema in OPTIONS if schema["minimum"] is not None]


def name_of(case: object) -> str:
    return case["name"] if isinstance(case, dict) else str(case)


@pytest.mark.parametrize(("method", "schema"), OPTIONS, ids=name_of)
def test_each_option_says_what_it_is_in_json(method: str, schema: OptionSchema) -> None:
    assert json.loads(json.dumps(schema)) == schema
    assert schema["meaning"].endswith(".")
    assert schema["type"] in ("int", "float", "bool", "str")
    if schema["type"] in ("int", "float"):
        assert schema["minimum"] is not None
        assert schema["maximum"] is not None


@pytest.mark.parametrize(("method", "schema"), NUMBERS, ids=name_of)
def test_the_limits_themselves_are_accepted_and_beyond_them_is_refused(
    method: str, schema: OptionSchema
) -> None:
    name, minimum, maximum = schema["name"], schema["minimum"], schema["maximum"]
    assert minimum is not None
    assert maximum is not None
    for value in (minimum, maximum, str(minimum), str(maximum)):
        if schema["type"] == "int":
            value = int(float(value)) if isinstance(value, float) else value
        assert getattr(parse_options(method, {name: value}), name) == float(value)
    for value in (minimum - 1, maximum + 1, maximum * 10):
        with pytest.raises(InvalidOptionError, match=f"{name} is .* from {minimum:g} to"):
            parse_options(method, {name: value})


@pytest.mark.parametrize(("method", "schema"), OPTIONS, ids=name_of)
@pytest.mark.parametrize("value", [math.nan, math.inf, [], {}, "garbage", "", b"1", object()])
def test_a_value_of_the_wrong_type_is_refused_by_name(
    method: str, schema: OptionSchema, value: object
) -> None:
    with pytest.raises(InvalidOptionError, match=schema["name"]) as caught:
        parse_options(method, {schema["name"]: value})
    assert caught.value.details["option"] == schema["name"]


def test_texts_from_forms_are_read() -> None:
    given = {"steps": "20", "target_lpips": "0.1", "ramp": "false", "optimizer": "sgd"}
    options = parse_options("optimize", given)
    assert options == OptimizeOptions(steps=20, target_lpips=0.1, ramp=False, optimizer="sgd")


def test_none_stands_for_the_default() -> None:
    assert parse_options("optimize", {"steps": None, "seed": None}) == OptimizeOptions()


def test_the_default_is_200_steps_of_soap() -> None:
    options = parse_options("optimize", {})
    assert isinstance(options, OptimizeOptions)
    assert (options.steps, options.space, options.optimizer) == (200, None, "soap")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stepz": 3}, "'stepz' is not one of steps, "),
        ({"steps": 5001}, "steps is 5001, but must be from 1 to 5000"),
        ({"steps": 2.5}, "steps is 2.5, but must be a value of type int"),
        ({"steps": True}, "steps is True"),
        ({"ramp": 1}, "ramp is 1, but must be a value of type bool"),
        ({"space": "W"}, r"space is 'W', but must be one of z, w, w\+"),
        ({"learning_rate": "nan"}, "learning_rate is 'nan'"),
    ],
)
def test_messages_name_the_value_and_the_limit(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        parse_options("optimize", given)


@given(st.dictionaries(st.text(max_size=20), st.integers() | st.floats() | st.text(), max_size=3))
def test_any_mapping_gives_options_or_an_invalid_option_error(given: dict[str, object]) -> None:
    try:
        parse_options("optimize", given)
    except InvalidOptionError as error:
        assert len(str(error)) < 500


def test_an_unknown_method_has_no_options() -> None:
    for ask in (option_schema, lambda method: parse_options(method, {})):
        with pytest.raises(UnknownMethodError, match="'magic' is not one of optimize"):
            ask("magic")

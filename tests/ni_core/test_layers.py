"""The text form of W+ rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ni_core.errors import InvalidLayersError
from ni_core.layers import check_layers, format_layers, parse_layers


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("all", tuple(range(10))),
        ("ALL", tuple(range(10))),
        ("0-5", (0, 1, 2, 3, 4, 5)),
        ("1,3", (1, 3)),
        ("1,3,5-7", (1, 3, 5, 6, 7)),
        (" 9 , 2-3 ", (2, 3, 9)),
        ("2,2,1-2", (1, 2)),
    ],
)
def test_a_range_is_inclusive_and_rows_come_once_and_sorted(
    text: str, rows: tuple[int, ...]
) -> None:
    assert parse_layers(text, 10) == rows


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1--2", "1,,2", "1.5", "0x1", "1" * 201])
def test_a_text_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidLayersError):
        parse_layers(text, 10)


def test_the_error_names_the_rows_and_the_limit() -> None:
    with pytest.raises(InvalidLayersError, match="0-18 exceed the 10 rows") as caught:
        parse_layers("0-18", 10)
    assert caught.value.details == {"value": "0-18", "limit": 9}


def test_a_range_that_runs_backwards_is_refused_with_the_right_way_round() -> None:
    with pytest.raises(InvalidLayersError, match="write 3-5"):
        parse_layers("5-3", 10)


@given(st.sets(st.integers(0, 17), min_size=1))
def test_formatting_and_parsing_give_the_rows_back(rows: set[int]) -> None:
    ordered = tuple(sorted(rows))
    assert parse_layers(format_layers(ordered), 18) == ordered


@pytest.mark.parametrize("rows", [(), (-1,), (10,), (0, 99)])
def test_rows_outside_the_generator_are_refused(rows: tuple[int, ...]) -> None:
    with pytest.raises(InvalidLayersError, match="0-9"):
        check_layers(rows, 10)


def test_a_generator_without_layers_takes_all_and_nothing_else() -> None:
    assert parse_layers("all", 0) == () == check_layers((), 0)
    assert format_layers(()) == "all"
    with pytest.raises(InvalidLayersError, match="'0-5': this generator has no layers"):
        parse_layers("0-5", 0)
    with pytest.raises(InvalidLayersError, match=r"\[0\]: this generator has no layers"):
        check_layers((0,), 0)

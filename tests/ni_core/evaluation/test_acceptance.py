from typing import Any

import pytest

from ni_core.evaluation.acceptance import acceptance


def measured() -> dict[str, Any]:
    rows = {
        "e4e": {"mse": 0.04, "lpips": 1.0, "editability": 0.9},
        "psp": {"mse": 0.03, "lpips": 0.9, "editability": 0.8},
        "restyle": {"mse": 0.02, "lpips": 0.8, "editability": 0.7},
        "mapper": {"mse": 0.06, "lpips": 1.5, "editability": 0.9},
        "mapper masked": {"mse": 0.1, "lpips": 2.0, "editability": 0.9},
    }
    return {name: {"unseen_renders": row} for name, row in rows.items()}


CURVE = {
    "series": {
        "cold": [{"steps": 20, "loss": 0.3}, {"steps": 100, "loss": 0.1}],
        "landscape": [{"steps": 20, "loss": 0.09}, {"steps": 100, "loss": 0.05}],
    }
}


def test_every_aim_is_decided_by_its_two_figures() -> None:
    checks = acceptance(measured(), CURVE)
    assert [check["holds"] for check in checks] == [True] * 5
    assert [(check["value"], check["limit"]) for check in checks] == [
        (0.09, 0.1),
        (0.02, 0.04),
        (0.9, 0.8),
        (1.5, 1.5),
        (2.0, 2.25),
    ]


@pytest.mark.parametrize(
    ("name", "figure", "value", "check"),
    [
        ("restyle", "mse", 0.04, 1),
        ("psp", "editability", 0.9, 2),
        ("mapper", "lpips", 1.6, 3),
        ("mapper masked", "lpips", 2.3, 4),
    ],
)
def test_an_aim_that_is_missed_is_reported_as_missed(
    name: str, figure: str, value: float, check: int
) -> None:
    methods = measured()
    methods[name]["unseen_renders"][figure] = value
    checks = acceptance(methods, CURVE)
    assert [one["holds"] for one in checks] == [i != check for i in range(5)]


def test_what_was_not_measured_is_neither_true_nor_false() -> None:
    for check in acceptance({}, None):
        assert (check["value"], check["limit"], check["holds"]) == (None, None, None)
    del (methods := measured())["psp"]
    check = acceptance(methods, None)[2]
    assert (check["value"], check["limit"], check["holds"]) == (0.9, None, None)

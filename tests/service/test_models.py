from __future__ import annotations

import httpx

from tests.service.problem import expect_problem


def test_models_say_what_they_are_and_can_do(client: httpx.Client) -> None:
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    tiny = models["tiny"]
    assert (tiny["resolution"], tiny["num_layers"], tiny["w_dim"]) == (16, 6, 32)
    assert tiny["spaces"] == ["z", "w", "w+"]
    assert "optimize" in tiny["methods"] and "sefa" in tiny["direction_methods"]
    steps = next(option for option in tiny["options"]["optimize"] if option["name"] == "steps")
    assert steps["default"] == 200 and steps["meaning"]
    whole = client.get(tiny["links"]["self"]).json()
    assert whole["training"]["recipe"] == "random weights"
    assert {key: whole[key] for key in tiny} == tiny


def test_an_unknown_model_is_not_found(client: httpx.Client) -> None:
    expect_problem(client.get("/models/nobody"), "unknown-model", "nobody", "tiny")
    expect_problem(client.get("/models/..%2Ftiny"), "not-found")
    expect_problem(client.get("/models/" + "x" * 100), "invalid-field", "64")

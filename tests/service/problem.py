"""What every error answer must look like."""

from __future__ import annotations

from typing import Any

import httpx

from service.problems import PROBLEM_TYPES


def expect_problem(answer: httpx.Response, slug: str, *mentions: str) -> dict[str, Any]:
    """Check the shape of an error answer, and that its text mentions value and limit."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"/problems/{slug}", problem
    assert problem["status"] == answer.status_code == PROBLEM_TYPES[slug].status
    assert problem["title"] == PROBLEM_TYPES[slug].title
    for mention in mentions:
        assert mention in problem["detail"], problem
    return problem

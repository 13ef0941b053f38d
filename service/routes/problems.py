"""What the `type` of a problem answer means."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path

from ni_core.errors import NotFoundError
from service.answers import problems
from service.problems import PROBLEM_TYPES, ProblemType
from service.schemas import ProblemDescription, ProblemTable

router = APIRouter(tags=["problems"])


@router.get("/problems", summary="List the types of problems")
async def list_problems() -> ProblemTable:
    """Every `type` an error answer or a failed job can have."""
    return ProblemTable(problems=[_describe(row) for row in PROBLEM_TYPES.values()])


@router.get("/problems/{slug}", summary="Read a type of problem", responses=problems(404))
async def read_problem(
    slug: Annotated[str, Path(description="Last part of an error answer's `type`.")],
) -> ProblemDescription:
    """Where the `type` of an error answer leads."""
    if slug not in PROBLEM_TYPES:
        raise NotFoundError(f"no problem type is called {slug[:100]!r}")
    return _describe(PROBLEM_TYPES[slug])


def _describe(row: ProblemType) -> ProblemDescription:
    return ProblemDescription(**asdict(row), type=row.uri)

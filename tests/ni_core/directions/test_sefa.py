"""SeFa: the closed form, its order and its signs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ni_core.directions.sefa import factorize
from ni_core.errors import InvalidOptionError


@given(seed=st.integers(0, 10_000), channels=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_directions_are_orthonormal_and_sorted(seed: int, channels: int) -> None:
    weights = torch.randn(24, channels, generator=torch.Generator().manual_seed(seed))
    directions, eigenvalues = factorize(weights, k=24)
    torch.testing.assert_close(directions @ directions.T, torch.eye(24), atol=1e-5, rtol=0)
    assert (eigenvalues.diff() <= 1e-5).all()


def test_directions_solve_the_eigenproblem_of_the_normalised_weights() -> None:
    weights = torch.randn(16, 40, generator=torch.Generator().manual_seed(3))
    columns = weights / weights.norm(dim=0)
    directions, eigenvalues = factorize(weights, k=5)
    moved = directions @ columns @ columns.T
    torch.testing.assert_close(moved, eigenvalues[:, None] * directions, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        (directions @ columns).square().sum(dim=1), eigenvalues, atol=1e-5, rtol=1e-5
    )


def test_the_first_direction_is_the_one_that_was_planted() -> None:
    planted = torch.zeros(12)
    planted[4] = 1.0
    noise = torch.randn(12, 200, generator=torch.Generator().manual_seed(0)) * 0.05
    directions, _ = factorize(planted[:, None] + noise, k=1)
    assert float(directions[0, 4]) > 0.99


def test_the_sign_is_fixed_by_the_largest_component() -> None:
    weights = torch.randn(16, 40, generator=torch.Generator().manual_seed(5))
    directions, _ = factorize(weights, k=16)
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    assert (largest > 0).all()
    torch.testing.assert_close(factorize(-weights, k=16)[0], directions)


@pytest.mark.parametrize("k", [0, -1, 17])
def test_k_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(InvalidOptionError, match=f"k {k} is not between 1 and the 16"):
        factorize(torch.randn(16, 4), k=k)

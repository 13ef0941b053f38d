"""Editing: what must hold for every latent and every set of weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ni_core.directions import Direction
from ni_core.editing import MAX_WEIGHT, edit
from ni_core.errors import (
    GeneratorMismatchError,
    InvalidLayersError,
    InvalidOptionError,
    InvalidWeightError,
    SpaceNotAvailableError,
)
from ni_core.generators import tiny_generator
from ni_core.generators.stylegan1 import StyleGAN1
from ni_core.latents import Latent
from tests.bundles import ROW_MAPPING

GENERATOR = tiny_generator()


def direction(index: int, layers: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> Direction:
    vector = torch.zeros(32)
    vector[index] = 1.0
    return Direction(index, "sefa", layers, vector, 1.0, (-3.0, 3.0), GENERATOR.fingerprint)


def per_row(index: int, layers: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> Direction:
    """A direction with another vector, and another length, in every row."""
    vector = torch.randn(6, 32, generator=torch.Generator().manual_seed(100 + index))
    vector[3] = 0.0
    return Direction(
        index, "imported", layers, vector, None, (-3.0, 3.0), GENERATOR.fingerprint, "pose"
    )


def in_z(index: int, layers: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> Direction:
    vector = torch.zeros(32)
    vector[index] = 1.0
    return Direction(
        index, "imported", layers, vector, None, (-3.0, 3.0), GENERATOR.fingerprint, space="z"
    )


def z_latent(seed: int = 0) -> Latent:
    tensor = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    return Latent(tensor, "z", GENERATOR.fingerprint)


def w_plus(seed: int = 0) -> Latent:
    tensor = torch.randn(6, 32, generator=torch.Generator().manual_seed(seed))
    return Latent(tensor, "w+", GENERATOR.fingerprint)


weight = st.floats(-MAX_WEIGHT, MAX_WEIGHT)


@given(st.integers(0, 1000))
@settings(deadline=None)
def test_a_weight_of_zero_is_identity_bit_by_bit(seed: int) -> None:
    latent = w_plus(seed)
    latent.tensor[0, 0] = -0.0
    edited = edit(latent, {direction(0): 0.0, direction(1): -0.0}, generator=GENERATOR)
    assert edited.tensor.numpy().tobytes() == latent.tensor.numpy().tobytes()


@given(first=weight, second=weight)
@settings(deadline=None)
def test_edits_add(first: float, second: float) -> None:
    together = edit(w_plus(), {direction(0): first, direction(5): second}, generator=GENERATOR)
    one = edit(w_plus(), {direction(5): second}, generator=GENERATOR)
    both = edit(one, {direction(0): first}, generator=GENERATOR)
    torch.testing.assert_close(together.tensor, both.tensor)
    moved = (together.tensor - w_plus().tensor).sum(dim=1)
    torch.testing.assert_close(moved, torch.full((6,), first + second), atol=1e-3, rtol=1e-4)


@given(st.sets(st.integers(0, 5), min_size=1), weight)
@settings(deadline=None)
def test_rows_that_are_not_named_stay_bit_by_bit(rows: set[int], amount: float) -> None:
    chosen = tuple(rows)
    edited = edit(w_plus(), {direction(3): amount}, generator=GENERATOR, layers=chosen)
    for row in set(range(6)) - rows:
        assert torch.equal(edited.tensor[row], w_plus().tensor[row])
    for row in rows:
        expected = w_plus().tensor[row, 3] + amount
        torch.testing.assert_close(edited.tensor[row, 3], expected, check_dtype=False)


def test_a_direction_applies_to_its_own_rows_unless_told_otherwise() -> None:
    edited = edit(w_plus(), {direction(3, layers=(2, 4)): 1.0}, generator=GENERATOR)
    changed = (edited.tensor != w_plus().tensor).any(dim=1)
    assert changed.tolist() == [False, False, True, False, True, False]


@given(first=weight, second=weight)
@settings(deadline=None, max_examples=30)
def test_edits_with_a_vector_for_each_row_add(first: float, second: float) -> None:
    together = edit(w_plus(), {per_row(0): first, direction(5): second}, generator=GENERATOR)
    one = edit(w_plus(), {direction(5): second}, generator=GENERATOR)
    both = edit(one, {per_row(0): first}, generator=GENERATOR)
    torch.testing.assert_close(together.tensor, both.tensor, atol=1e-4, rtol=1e-5)
    moved = w_plus().tensor + first * per_row(0).vector
    alone = edit(w_plus(), {per_row(0): first}, generator=GENERATOR)
    torch.testing.assert_close(alone.tensor, moved)
    assert torch.equal(alone.tensor[3], w_plus().tensor[3])


@given(st.sets(st.integers(0, 5), min_size=1), weight)
@settings(deadline=None, max_examples=30)
def test_each_row_gets_its_own_vector_and_the_others_stay_bit_by_bit(
    rows: set[int], amount: float
) -> None:
    edited = edit(w_plus(), {per_row(1): amount}, generator=GENERATOR, layers=tuple(rows))
    for row in range(6):
        expected = w_plus().tensor[row]
        if row in rows:
            expected = expected + amount * per_row(1).vector[row]
            torch.testing.assert_close(edited.tensor[row], expected)
        else:
            assert torch.equal(edited.tensor[row], expected)


@given(
    st.sets(st.integers(0, 5), min_size=1),
    st.floats(-10, 10).filter(bool),
    st.sampled_from([1.0, 0.7]),
)
@settings(deadline=None, max_examples=30)
def test_directions_in_z_move_their_rows_and_the_others_stay_bit_by_bit(
    rows: set[int], amount: float, psi: float
) -> None:
    plain = edit(z_latent(), {}, generator=GENERATOR, psi=psi).tensor
    edited = edit(
        z_latent(), {in_z(3): amount}, generator=GENERATOR, layers=tuple(rows), psi=psi
    ).tensor
    z = z_latent().tensor + amount * in_z(3).vector
    moved = GENERATOR.broadcast(GENERATOR.map(z[None]), psi)[0]
    for row in range(6):
        if row in rows:
            torch.testing.assert_close(edited[row], moved[row])
        else:
            assert torch.equal(edited[row], plain[row])


@given(first=st.floats(-3, 3), second=st.floats(-3, 3), third=weight)
@settings(deadline=None, max_examples=30)
def test_directions_of_z_and_w_mix_in_any_order(first: float, second: float, third: float) -> None:
    weights = {in_z(0): first, in_z(1, layers=(2, 3)): second, direction(4): third}
    edited = edit(z_latent(), weights, generator=GENERATOR).tensor
    other = edit(z_latent(), dict(reversed(weights.items())), generator=GENERATOR).tensor
    torch.testing.assert_close(edited, other)
    z = z_latent().tensor + first * in_z(0).vector
    both = z + second * in_z(1).vector
    for row in range(6):
        w = GENERATOR.map((both if row in (2, 3) else z)[None])[0] + third * direction(4).vector
        torch.testing.assert_close(edited[row], w, atol=1e-4, rtol=1e-4)


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_a_weight_of_zero_is_identity_for_every_kind_of_direction(seed: int) -> None:
    weights = {direction(0): 0.0, per_row(1): -0.0, in_z(2): 0.0}
    for latent in (z_latent(seed), w_plus(seed)):
        plain = edit(latent, {}, generator=GENERATOR).tensor
        edited = edit(latent, weights, generator=GENERATOR).tensor
        assert edited.numpy().tobytes() == plain.numpy().tobytes()


def test_a_mapping_that_makes_rows_gives_each_row_of_the_moved_z() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = StyleGAN1(ROW_MAPPING).freeze()
    vector = torch.eye(24)[3]
    before = Direction(0, "imported", (1, 4), vector, None, (-3.0, 3.0), "", space="z")
    latent = Latent(torch.randn(24, generator=torch.Generator().manual_seed(1)), "z", "")
    edited = edit(latent, {before: 2.0}, generator=generator).tensor
    moved, still = generator.map(torch.stack([latent.tensor + 2 * vector, latent.tensor]))
    for row in range(6):
        torch.testing.assert_close(edited[row], (moved if row in (1, 4) else still)[row])


def test_a_direction_in_z_needs_a_latent_in_z() -> None:
    with pytest.raises(SpaceNotAvailableError, match=r"imported.0-5.3 acts in z.*latent is in w\+"):
        edit(w_plus(), {in_z(3): 1.0}, generator=GENERATOR)


def test_the_latent_that_came_in_is_not_changed() -> None:
    latent = w_plus()
    before = latent.tensor.clone()
    edit(latent, {direction(0): 5.0}, generator=GENERATOR, psi=0.5)
    assert torch.equal(latent.tensor, before)


@pytest.mark.parametrize("space", ["z", "w"])
def test_latents_of_z_and_w_are_brought_to_w_plus(space: str) -> None:
    numbers = torch.randn(32, generator=torch.Generator().manual_seed(2))
    w = GENERATOR.map(numbers[None])[0] if space == "z" else numbers
    latent = Latent(numbers, space, GENERATOR.fingerprint)  # type: ignore[arg-type]
    edited = edit(latent, {}, generator=GENERATOR)
    assert edited.space == "w+"
    torch.testing.assert_close(edited.tensor, w.expand(6, -1))


def test_psi_truncates_before_the_edit() -> None:
    edited = edit(w_plus(), {direction(0): 1.0}, generator=GENERATOR, psi=0.0)
    expected = GENERATOR.w_avg.expand(6, -1).clone()
    expected[:, 0] += 1.0
    torch.testing.assert_close(edited.tensor, expected)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -100.1])
def test_a_weight_out_of_range_is_refused_with_the_limit(amount: float) -> None:
    with pytest.raises(InvalidWeightError, match=r"of sefa.0-5.0 is not between -100 and 100"):
        edit(w_plus(), {direction(0): amount}, generator=GENERATOR)


@pytest.mark.parametrize("psi", [float("nan"), -0.1, 2.1])
def test_psi_out_of_range_is_refused_with_the_limit(psi: float) -> None:
    with pytest.raises(InvalidOptionError, match="not between 0 and 2"):
        edit(w_plus(), {}, generator=GENERATOR, psi=psi)


def test_rows_the_generator_lacks_are_refused() -> None:
    with pytest.raises(InvalidLayersError, match="0-5"):
        edit(w_plus(), {direction(0): 1.0}, generator=GENERATOR, layers=(6,))


def test_latents_and_directions_of_another_generator_are_refused() -> None:
    with pytest.raises(GeneratorMismatchError, match="tiny-1"):
        edit(w_plus(), {direction(0): 1.0}, generator=tiny_generator(1))

"""Editing: latent + slider weights -> latent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ni_core.directions.direction import Direction
from ni_core.errors import (
    GeneratorMismatchError,
    InvalidOptionError,
    InvalidWeightError,
    SpaceNotAvailableError,
)
from ni_core.generators import Generator, to_synthesis_input
from ni_core.latents import Latent
from ni_core.layers import check_layers

MAX_WEIGHT = 100.0
"""Largest absolute slider weight; safe ranges are far smaller."""

MAX_PSI = 2.0
"""Largest truncation; above 1 a latent is pushed away from the average."""


@dataclass(frozen=True)
class _Move:
    """One direction with the weight and the rows of W+ that are meant."""

    direction: Direction
    weight: float
    rows: list[int]

    @property
    def offsets(self) -> Tensor:
        """What is added: `[d]`, or `[len(rows), d]`."""
        return self.weight * self.direction.rows(self.rows)


def edit(
    latent: Latent,
    weights: Mapping[Direction, float],
    *,
    generator: Generator,
    layers: tuple[int, ...] | None = None,
    psi: float = 1.0,
) -> Latent:
    """Move a latent along several directions at once.

    Edits add: the order does not matter, and a weight of 0 changes nothing, bit by bit. Rows that
    no direction touches stay as they are.

    Directions in Z act before the mapping, so they need a latent in Z; their rows of W+ are those
    of the moved z, the other rows those of the z that came in. A generator with only z is edited in
    Z. A z of a uniform prior is not held within [-1, 1], because edits would no longer add; the
    safe ranges of directions are narrower instead.

    Args:
        latent: A latent of any space; z and w are brought to W+ first.
        weights: How far to go along each direction, |weight| <= 100.
        generator: The generator all of them belong to.
        layers: Rows of W+ to edit instead of each direction's own.
        psi: Truncation of the latent towards `w_avg` before the edit, 0 to 2; 1 is none, and all
            that a generator with only z takes.

    Returns:
        The edited latent, in W+, or in Z for a generator with only z.

    Raises:
        InvalidWeightError: A weight is not finite or too large.
        InvalidOptionError: psi is out of range.
        InvalidLayersError: `layers` are not rows of the generator.
        SpaceNotAvailableError: A direction acts in Z and the latent is not in Z.
        GeneratorMismatchError: The latent or a direction belongs to another generator.
    """
    _check_owners(latent, weights, generator)
    _check_psi(psi, generator)
    rows = None if layers is None else check_layers(layers, generator.num_layers)
    moves = [
        _Move(direction, weight, list(rows or direction.layers))
        for direction, weight in weights.items()
        if checked_weight(direction.id, weight) != 0.0
    ]
    before = [move for move in moves if move.direction.space == "z"]
    _check_space(latent, before)
    if generator.num_layers == 0:
        z = latent.tensor.clone()
        for move in before:
            z += move.offsets
        return Latent(z, "z", generator.fingerprint)
    batch = latent.tensor[None].to(generator.device)
    w_plus = to_synthesis_input(generator, batch, latent.space, psi)[0].cpu().clone()
    if before:
        _move_before_mapping(w_plus, latent.tensor, before, generator, psi)
    for move in moves:
        if move.direction.space == "w":
            w_plus[move.rows] += move.offsets
    return Latent(w_plus, "w+", generator.fingerprint)


@torch.no_grad()
def _move_before_mapping(
    w_plus: Tensor, z: Tensor, moves: list[_Move], generator: Generator, psi: float
) -> None:
    """Replace the rows that the moves name by those of the moved z."""
    z_rows = z.repeat(generator.num_layers, 1)
    for move in moves:
        z_rows[move.rows] += move.offsets
    touched = sorted({row for move in moves for row in move.rows})
    w = generator.map(z_rows[touched].to(generator.device))
    mapped = generator.broadcast(w, psi).cpu()
    for index, row in enumerate(touched):
        w_plus[row] = mapped[index, row]


def checked_weight(name: str, weight: float) -> float:
    """Return a slider weight that is finite and within the limit.

    Raises:
        InvalidWeightError: It is not.
    """
    if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
        raise InvalidWeightError(
            f"weight {weight} of {name} is not between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g}",
            value=str(weight),
            limit=MAX_WEIGHT,
        )
    return weight


def _check_owners(latent: Latent, weights: Mapping[Direction, float], generator: Generator) -> None:
    for owner in (latent.generator, *(direction.generator for direction in weights)):
        if owner != generator.fingerprint:
            raise GeneratorMismatchError(
                f"made for generator {owner}, not for {generator.fingerprint}",
                value=owner,
                limit=generator.fingerprint,
            )


def _check_psi(psi: float, generator: Generator) -> None:
    if not 0.0 <= psi <= MAX_PSI:
        raise InvalidOptionError(
            f"psi {psi} is not between 0 and {MAX_PSI:g}", value=str(psi), limit=MAX_PSI
        )
    if psi != 1.0 and generator.num_layers == 0:
        raise InvalidOptionError(
            f"psi {psi} truncates in W; {generator.family} has only z and takes 1",
            value=str(psi),
            limit=1.0,
        )


def _check_space(latent: Latent, before: list[_Move]) -> None:
    if before and latent.space != "z":
        raise SpaceNotAvailableError(
            f"direction {before[0].direction.id} acts in z, before the mapping; the latent is in "
            f"{latent.space}",
            value=latent.space,
            limit=["z"],
        )

"""Editing: latent + slider weights -> latent."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ni_core.directions.direction import Direction
from ni_core.errors import GeneratorMismatchError, InvalidOptionError, InvalidWeightError
from ni_core.generators import Generator, to_synthesis_input
from ni_core.latents import Latent
from ni_core.layers import check_layers

MAX_WEIGHT = 100.0
"""Largest absolute slider weight; safe ranges are far smaller."""

MAX_PSI = 2.0
"""Largest truncation; above 1 a latent is pushed away from the average."""


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

    Args:
        latent: A latent of any space; z and w are brought to W+ first.
        weights: How far to go along each direction, |weight| <= 100.
        generator: The generator all of them belong to.
        layers: Rows of W+ to edit instead of each direction's own.
        psi: Truncation of the latent towards `w_avg` before the edit, 0 to 2; 1 is none.

    Returns:
        The edited latent, in W+.

    Raises:
        InvalidWeightError: A weight is not finite or too large.
        InvalidOptionError: psi is out of range.
        InvalidLayersError: `layers` are not rows of the generator.
        GeneratorMismatchError: The latent or a direction belongs to another generator.
    """
    for owner in (latent.generator, *(direction.generator for direction in weights)):
        if owner != generator.fingerprint:
            raise GeneratorMismatchError(
                f"made for generator {owner}, not for {generator.fingerprint}",
                value=owner,
                limit=generator.fingerprint,
            )
    if not 0.0 <= psi <= MAX_PSI:
        raise InvalidOptionError(
            f"psi {psi} is not between 0 and {MAX_PSI:g}", value=str(psi), limit=MAX_PSI
        )
    rows = None if layers is None else check_layers(layers, generator.num_layers)
    batch = latent.tensor[None].to(generator.device)
    w_plus = to_synthesis_input(generator, batch, latent.space, psi)[0].cpu().clone()
    for direction, weight in weights.items():
        if checked_weight(direction.id, weight) != 0.0:
            w_plus[list(rows or direction.layers)] += weight * direction.vector
    return Latent(w_plus, "w+", generator.fingerprint)


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

"""SeFa: closed-form factorisation of the first weights a latent meets (arXiv:2007.06600)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.directions.calibration import safe_range, w_deviations, z_deviation
from ni_core.directions.direction import Direction
from ni_core.errors import InvalidOptionError


def find_sefa(bundle: Bundle, layers: tuple[int, ...]) -> list[Direction]:
    """Factorise a bundle's generator.

    Args:
        bundle: The bundle.
        layers: Rows of W+ whose style weights are factorised. A generator with only z has none:
            its first layer's weights are factorised, and the directions are in Z.

    Returns:
        All directions, as many as W or Z has dimensions, the strongest first.
    """
    generator = bundle.generator
    weights = generator.style_weights(layers)
    vectors, eigenvalues = (part.cpu() for part in factorize(weights, k=weights.shape[0]))
    if generator.num_layers:
        deviations = w_deviations(bundle, vectors, layers)
    else:
        deviations = [z_deviation(bundle)] * len(vectors)
    return [
        Direction(
            index=index,
            method="sefa",
            layers=layers,
            vector=vectors[index],
            eigenvalue=float(eigenvalues[index]),
            range=safe_range(deviation),
            generator=generator.fingerprint,
            space="w" if generator.num_layers else "z",
        )
        for index, deviation in enumerate(deviations)
    ]


def factorize(
    style_weights: Float[Tensor, "w_dim channels"], *, k: int
) -> tuple[Float[Tensor, "k w_dim"], Float[Tensor, " k"]]:
    """Find the k directions that move the styles of some layers most.

    Columns are normalised first. Directions come sorted by falling eigenvalue, have length 1 and
    a fixed sign (the largest component is positive), so results repeat.

    Args:
        style_weights: Affine weights of the chosen layers, joined along channels; in Z the first
            layer's weights.
        k: Number of directions, 1 <= k <= w_dim.

    Returns:
        Directions and their eigenvalues, float32, on the device of the input.

    Raises:
        InvalidOptionError: k is out of range.

    Source: SeFa, arXiv:2007.06600. Differs: symmetric eigensolver in float64, sorted, sign fixed.
    """
    w_dim = style_weights.shape[0]
    if not 1 <= k <= w_dim:
        raise InvalidOptionError(
            f"k {k} is not between 1 and the {w_dim} dimensions", value=k, limit=w_dim
        )
    columns = style_weights.double()
    columns = columns / columns.norm(dim=0, keepdim=True).clamp_min(1e-12)
    eigenvalues, eigenvectors = torch.linalg.eigh(columns @ columns.T)
    directions = eigenvectors.flip(1)[:, :k].T
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return (directions * largest.sign()).float(), eigenvalues.flip(0)[:k].float()

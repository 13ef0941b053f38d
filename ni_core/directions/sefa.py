"""SeFa: closed-form factorisation of the style weights (arXiv:2007.06600)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ni_core.errors import InvalidOptionError


def factorize(
    style_weights: Float[Tensor, "w_dim channels"], *, k: int
) -> tuple[Float[Tensor, "k w_dim"], Float[Tensor, " k"]]:
    """Find the k directions in W that move the styles of some layers most.

    Columns are normalised first. Directions come sorted by falling eigenvalue, have length 1 and
    a fixed sign (the largest component is positive), so results repeat.

    Args:
        style_weights: Affine weights of the chosen layers, joined along channels.
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
            f"k {k} is not between 1 and the {w_dim} dimensions of W", value=k, limit=w_dim
        )
    columns = style_weights.double()
    columns = columns / columns.norm(dim=0, keepdim=True).clamp_min(1e-12)
    eigenvalues, eigenvectors = torch.linalg.eigh(columns @ columns.T)
    directions = eigenvectors.flip(1)[:, :k].T
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return (directions * largest.sign()).float(), eigenvalues.flip(0)[:k].float()

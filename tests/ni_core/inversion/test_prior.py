"""The prior holds latents near mapped ones: rows of W+ by default, other spaces on request."""

import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle
from ni_core.inversion import invert
from ni_core.inversion.coordinates import coordinates_of


def found(bundle: Bundle, pictures: Tensor, **options: object) -> Tensor:
    result = invert(bundle, pictures, options={"steps": 30, "starts": 1, **options})
    return torch.stack([latent.tensor for latent in result.latents])


def test_the_stronger_it_is_the_nearer_latents_are_to_mapped_ones(
    bundle: Bundle, pictures: Tensor
) -> None:
    whitened = coordinates_of(bundle, "w+")
    free, held, tight = (
        whitened.from_latents(found(bundle, pictures, prior_coefficient=coefficient))
        .square()
        .mean(dim=(1, 2))
        for coefficient in (0, 0.1, 1)
    )
    assert (held < 0.9 * free).all(), (held, free)
    assert (tight < 0.5 * held).all(), (tight, held)


@pytest.mark.parametrize(("space", "coefficient"), [("z", 0), ("w", 0), ("w+", 0.004)])
def test_by_default_it_holds_rows_alone(
    bundle: Bundle, pictures: Tensor, space: str, coefficient: float
) -> None:
    default = found(bundle, pictures, space=space)
    given = found(bundle, pictures, space=space, prior_coefficient=coefficient)
    other = found(bundle, pictures, space=space, prior_coefficient=0.1)
    assert torch.equal(default, given)
    assert not torch.equal(default, other)

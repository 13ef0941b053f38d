"""Whitened coordinates: mapped latents have covariance 1 in them, and nothing is lost."""

import torch

from ni_core.bundles import Bundle
from ni_core.inversion.coordinates import coordinates_of


def mapped(bundle: Bundle, n: int) -> torch.Tensor:
    z = torch.randn(n, bundle.generator.z_dim, generator=torch.Generator().manual_seed(5))
    return bundle.generator.map(z)


def test_there_and_back_is_the_identity(bundle: Bundle) -> None:
    coordinates = coordinates_of(bundle, "w+")
    w_plus = mapped(bundle, 12).reshape(2, 6, -1)
    there_and_back = coordinates.to_latents(coordinates.from_latents(w_plus))
    torch.testing.assert_close(there_and_back, w_plus, atol=1e-4, rtol=1e-4)


def test_the_average_latent_is_the_origin(bundle: Bundle) -> None:
    coordinates = coordinates_of(bundle, "w")
    w_avg = bundle.generator.w_avg[None]
    assert not coordinates.from_latents(w_avg).any()
    assert torch.equal(coordinates.to_latents(torch.zeros_like(w_avg)), w_avg)


def test_mapped_latents_are_white(bundle: Bundle) -> None:
    v = coordinates_of(bundle, "w").from_latents(mapped(bundle, 4096))
    covariance = v.T @ v / len(v)
    assert (covariance - torch.eye(len(covariance))).abs().max() < 0.3
    assert abs(covariance.diagonal().mean() - 1) < 0.1


def test_z_is_white_already(bundle: Bundle) -> None:
    z = torch.randn(3, bundle.generator.z_dim)
    coordinates = coordinates_of(bundle, "z")
    assert coordinates.to_latents(z) is z
    assert coordinates.from_latents(z) is z


def test_they_are_computed_once_for_each_bundle(bundle: Bundle) -> None:
    assert coordinates_of(bundle, "w") is coordinates_of(bundle, "w+")

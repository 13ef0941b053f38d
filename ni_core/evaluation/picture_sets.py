"""The fixed sets of pictures on which inversion methods are compared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.bundles.samples import spread_labels
from ni_core.evaluation.reading import BATCH, render_all, unseen_factors
from ni_core.evaluation.still_lifes import render_still_lifes
from ni_core.generators import sample_z

OWN_SAMPLES = "own_samples"
UNSEEN_RENDERS = "unseen_renders"
OTHER_DOMAIN = "other_domain"

_LIGHT_PART = 2
"""Which stretch of the unseen factors lights the still lifes."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures to invert, and what is known about them.

    Attributes:
        name: `own_samples`, `unseen_renders` or `other_domain`.
        pictures: `[n, 3, r, r]` in [-1, 1], on the bundle's device.
        latents: What `synthesize` made them of, `[n, num_layers, w_dim]` or `[n, z_dim]`.
        factors: What they were rendered from, `[n, F]`.
    """

    name: str
    pictures: Tensor
    latents: Tensor | None = None
    factors: Tensor | None = None


def picture_sets(bundle: Bundle, n: int, *, seed: int, renders: bool) -> list[PictureSet]:
    """Make the sets; each depends on the seed, the generator and the resolution alone.

    Args:
        bundle: Whose generator's samples, at whose resolution.
        n: Pictures in each.
        seed: Of the latents, and the stream of renders and still lifes.
        renders: Whether portraits are among what the generator knows.
    """
    sets = [own_samples(bundle, n, seed=seed)]
    if renders:
        sets.append(unseen_renders(bundle, n, seed=seed))
    light = unseen_factors(n, seed=seed, part=_LIGHT_PART).to(bundle.device)
    pictures = render_still_lifes(light, bundle.generator.resolution, seed=seed)
    return [*sets, PictureSet(OTHER_DOMAIN, pictures)]


def own_samples(bundle: Bundle, n: int, *, seed: int) -> PictureSet:
    """Pictures that the generator makes of random z, and their latents."""
    latents = sample_latents(bundle, n, seed=seed)
    with torch.no_grad():
        pictures = [bundle.generator.synthesize(part) for part in latents.split(BATCH)]
    return PictureSet(OWN_SAMPLES, torch.cat(pictures).clamp(-1, 1), latents=latents)


def unseen_renders(bundle: Bundle, n: int, *, seed: int) -> PictureSet:
    """Portraits beyond every training set, and their factors."""
    factors = unseen_factors(n, seed=seed)
    return PictureSet(UNSEEN_RENDERS, render_all(factors, bundle), factors=factors)


@torch.no_grad()
def sample_latents(bundle: Bundle, n: int, *, seed: int) -> Tensor:
    """Random z mapped to W+, `[n, num_layers, w_dim]`; z itself where there is no W."""
    generator = bundle.generator
    z = sample_z(generator, n, seed=seed).to(generator.device)
    if not generator.num_layers:
        return z
    return generator.broadcast(generator.map(z, spread_labels(generator, n)))

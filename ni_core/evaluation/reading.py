"""Factors as the judge reads them: shared by the commands that evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ni_core.bundles.bundle import Bundle
from ni_core.errors import BrokenBundleError
from ni_core.training.judge import Judge
from ni_core.training.picture_set import TEST_START
from ni_core.training.portraits import FACTOR_NAMES, render, sample_factors
from ni_core.training.regressor import standards

BATCH = 64
"""Pictures worked on at once."""

WELL_READ = 0.5
"""A factor counts where the judge's R² on unseen renders is at least this."""


def open_judge(bundle: Bundle, file: Path | None = None) -> Judge:
    """Load the judge of a bundle, or the one in a file.

    Raises:
        BrokenBundleError: The bundle has no judge and no file is given.
    """
    part = bundle.manifest.judge
    if file is None and part is None:
        raise BrokenBundleError(
            f"bundle {bundle.name} has no judge: train one with `ni train features --kind judge` "
            "and name its file with --judge",
            value=bundle.name,
        )
    path = file or bundle.manifest.path(part.file if part else "")
    judge = Judge.load(path, bundle.generator.resolution)
    judge.to(bundle.device)
    return judge


def unseen_factors(n: int, *, seed: int, part: int = 0) -> Tensor:
    """Factors `[n, F]` of the `part`-th set of `n` renders beyond every training set."""
    return sample_factors(seed, TEST_START + part * n, n)


@torch.no_grad()
def render_all(factors: Tensor, bundle: Bundle) -> Tensor:
    """Renders `[n, 3, r, r]` at the bundle's resolution, on its device."""
    parts = factors.to(bundle.device).split(BATCH)
    return torch.cat([render(part, bundle.generator.resolution) for part in parts])


@torch.no_grad()
def read_factors(judge: Judge, pictures: Tensor) -> Tensor:
    """Standardised factors `[n, F]` of pictures `[n, 3, r, r]`, on the CPU."""
    return torch.cat([judge(part).float().cpu() for part in pictures.split(BATCH)])


def standardised(factors: Tensor) -> Tensor:
    """Factors `[n, F]` in units of their standard deviation over pictures, around their mean."""
    mean, std = standards()
    return (factors - mean) / std


def reading_scores(judge: Judge, bundle: Bundle, *, n: int, seed: int) -> dict[str, float]:
    """R² of every factor on `n` unseen renders: what the judge can be asked about."""
    factors = unseen_factors(n, seed=seed, part=1)
    return determination_of(read_factors(judge, render_all(factors, bundle)), standardised(factors))


def well_read(scores: Mapping[str, float]) -> Tensor:
    """Factors that a judge reads well, bool `[F]`, from its R² by factor."""
    return torch.tensor([score >= WELL_READ for score in scores.values()])


def determination_of(read: Tensor, truth: Tensor) -> dict[str, float]:
    """R² of every factor: 1 - squared error / variance, both `[n, F]` and standardised."""
    unexplained = (read - truth).square().mean(dim=0) / truth.var(dim=0)
    return by_factor(1 - unexplained)


def by_factor(values: Tensor) -> dict[str, float]:
    """Name the columns of `[F]`, rounded for reports."""
    pairs = zip(FACTOR_NAMES, values.tolist(), strict=True)
    return {name: round(value, 3) for name, value in pairs}

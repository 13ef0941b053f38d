"""The learning rate of the short trainings: a rise, then half a cosine down to 0."""

from __future__ import annotations

import math

import torch


def set_warm_cosine(
    optimiser: torch.optim.Optimizer, rate: float, done: float, warmup: float
) -> None:
    """Set the learning rate of all groups.

    Args:
        optimiser: Whose rate.
        rate: The highest.
        done: Part of the training that is over; more than 1 counts as 1.
        warmup: Part of the training over which the rate rises.
    """
    rise = min(1.0, (done + 1e-3) / warmup)
    now = rate * rise * (1 + math.cos(math.pi * min(1.0, done))) / 2
    for group in optimiser.param_groups:
        group["lr"] = now

"""Adam with the equalised learning rate, and its memory as named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

BETAS = (0.0, 0.99)
"""Decay rates of Adam's moments; the first is 0, as in StyleGAN2."""


def make_adam(networks: Iterable[nn.Module], gains: Mapping[str, float]) -> torch.optim.Adam:
    """Adam over the trained parameters, one group per gain.

    Args:
        networks: What to train.
        gains: Learning-rate factor by a parameter's name; 1 where it has none.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for network in networks:
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(gains.get(name, 1.0), []).append(parameter)
    return torch.optim.Adam(
        [{"params": members, "gain": gain} for gain, members in groups.items()],
        betas=BETAS,
        fused=True,
    )


def set_rate(optimiser: torch.optim.Adam, rate: float) -> None:
    """Set the learning rate; every group's gain multiplies it."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["gain"]


def parameters_of(optimiser: torch.optim.Adam) -> list[nn.Parameter]:
    """Everything it trains, in the order of its state."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def moments(optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """What Adam remembers of each parameter, as `index.name`.

    The first moment is left out: with a decay rate of 0 it is the last gradient, which the
    next step overwrites unread.
    """
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if name != "exp_avg"
    }


def remember(optimiser: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    """Give Adam back what `moments` took, in the memory layout of its parameters."""
    document = optimiser.state_dict()
    document["state"] = {
        index: {
            "step": tensors[f"{index}.step"],
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.empty_like(parameter).copy_(tensors[f"{index}.exp_avg_sq"]),
        }
        for index, parameter in enumerate(parameters_of(optimiser))
        if f"{index}.step" in tensors
    }
    optimiser.load_state_dict(document)

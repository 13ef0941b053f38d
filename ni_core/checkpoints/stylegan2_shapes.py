"""What the tensors of a StyleGAN2 file tell of its architecture, whatever their names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ni_core.checkpoints.conversion import Rule, given, seeded_noise
from ni_core.errors import CheckpointError
from ni_core.generators.resampling import LINEAR

MAPPING_GAIN = 0.01
"""Learning-rate multiplier of the mapping network: stored weights are that much too large."""


def equalized(key: str, tensors: Mapping[str, Tensor], *, multiplier: float = 1.0) -> float:
    """Gain of the equalised learning rate of a weight `[..., out, in, k, k]` or `[out, in]`.

    Args:
        key: The weight.
        tensors: The state dict; a weight that it lacks has gain 1.
        multiplier: Learning-rate multiplier of its layer.
    """
    if key not in tensors:
        return 1.0
    shape = tensors[key].shape
    fan_in = math.prod(shape[-3:]) if len(shape) >= 4 else math.prod(shape[-1:])
    return multiplier / math.sqrt(max(fan_in, 1))


def noise_rule(tensors: Mapping[str, Tensor], pattern: str, index: int) -> Rule:
    """The noise map of a layer: the file's, or a seeded one where it stores none for any layer.

    Args:
        tensors: The state dict.
        pattern: Keys of the maps, with `{}` for the index.
        index: The layer.
    """
    if has_noise(tensors, pattern):
        return Rule((pattern.format(index),), Tensor.squeeze)
    return given(seeded_noise(4 << (index + 1) // 2, index))


def has_noise(tensors: Mapping[str, Tensor], pattern: str) -> bool:
    """Whether a file stores the noise map of any layer."""
    return any(pattern.format(index) in tensors for index in range(len(tensors)))


def taps_of(kernels: Iterable[Tensor]) -> tuple[float, ...]:
    """Read the taps of the resampling filter from its stored kernels.

    Args:
        kernels: `[..., k, k]`, the outer product of the taps with themselves, of sum 4: the gain
            that doubling the resolution needs.

    Returns:
        The taps; (1, 3, 3, 1) where there are no kernels.

    Raises:
        CheckpointError: The kernels differ from each other, or are no such product.
    """
    found = [kernel.detach().float().squeeze() for kernel in kernels]
    if not found:
        return LINEAR
    row = found[0].sum(dim=-1) / 2
    usual = torch.tensor(LINEAR) / 4
    is_usual = row.shape == usual.shape and torch.allclose(row, usual, atol=1e-6)
    row = usual if is_usual else row.flatten()
    wanted = torch.outer(row, row).squeeze()
    for kernel in found:
        if kernel.shape != wanted.shape or not torch.allclose(kernel, wanted, atol=1e-5):
            raise CheckpointError(
                f"the resampling filter {kernel.tolist()} is not the product of the taps "
                f"{row.tolist()} with themselves",
                value=kernel.tolist(),
            )
    return LINEAR if is_usual else tuple(row.tolist())

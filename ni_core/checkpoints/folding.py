"""Rules that fold batch norms in evaluation mode into the layer before them, which is exact."""

from __future__ import annotations

import torch
from torch import Tensor

from ni_core.checkpoints.conversion import Rule

_EPSILON = 1e-5
"""What batch norms add to the variance, unless told otherwise."""

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def norm_keys(norm: str) -> tuple[str, ...]:
    """Keys of a batch norm's four tensors."""
    return tuple(f"{norm}.{part}" for part in NORM_PARTS)


def folded_weight(weight: str, norm: str) -> Rule:
    """Weight of a layer with the batch norm after it folded in."""

    def fold(tensor: Tensor, *parts: Tensor) -> Tensor:
        scale, _ = _affine(*parts)
        return tensor * scale.float().reshape(-1, *[1] * (tensor.dim() - 1))

    return Rule((weight, *norm_keys(norm)), fold)


def folded_bias(norm: str, bias: str | None = None) -> Rule:
    """Bias of a layer with the batch norm after it folded in; `bias` is its own, if it has one."""

    def fold(*tensors: Tensor) -> Tensor:
        scale, shift = _affine(*tensors[:4])
        return shift if bias is None else shift + tensors[4].double() * scale

    return Rule(norm_keys(norm) + (() if bias is None else (bias,)), fold)


def norm_scale(norm: str, *shape: int) -> Rule:
    """What a batch norm multiplies by."""
    return Rule(norm_keys(norm), lambda *parts: _affine(*parts)[0].reshape(shape))


def norm_shift(norm: str, *shape: int) -> Rule:
    """What a batch norm then adds."""
    return Rule(norm_keys(norm), lambda *parts: _affine(*parts)[1].reshape(shape))


def _affine(weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.double() / torch.sqrt(variance.double() + _EPSILON)
    return scale, bias.double() - mean.double() * scale

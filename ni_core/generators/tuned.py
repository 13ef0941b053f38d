"""Tuned generators: a StyleGAN2 with some weights of its own, which shares all others."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ni_core.errors import GeneratorMismatchError
from ni_core.generators.modulated import ModulatedConv
from ni_core.generators.stylegan2 import StyleGAN2


def tuned(generator: StyleGAN2, deltas: Mapping[str, Tensor]) -> StyleGAN2:
    """Change some weights by a part of themselves: weight * (1 + delta).

    Args:
        generator: A frozen generator; it stays as it is.
        deltas: By the name of a modulated convolution, as `layers.0.conv`, what is to be added
            to its weight, relative to it: `[outputs, inputs, k, k]`.

    Returns:
        A frozen generator without a fingerprint. What is not tuned has the same memory in both.

    Raises:
        GeneratorMismatchError: The generator has no such convolution, or one of another shape.

    Source: the relative offsets of HyperStyle, arXiv:2111.15666.
    """
    tensors = [*generator.parameters(), *generator.buffers()]
    twin = copy.deepcopy(generator, {id(tensor): tensor for tensor in tensors})
    twin.fingerprint = ""
    for name, delta in deltas.items():
        conv = modulated_conv(twin, name, delta.shape)
        conv.weight = nn.Parameter(conv.weight * (1 + delta), requires_grad=False)
        conv.freeze()
    return twin


def modulated_conv(generator: StyleGAN2, name: str, shape: Sequence[int]) -> ModulatedConv:
    """Find a convolution whose weight has a shape.

    Raises:
        GeneratorMismatchError: The generator has no such convolution, or one of another shape.
    """
    conv = dict(generator.named_modules()).get(name)
    if not isinstance(conv, ModulatedConv) or conv.weight.shape != tuple(shape):
        found = list(conv.weight.shape) if isinstance(conv, ModulatedConv) else "none"
        raise GeneratorMismatchError(
            f"a convolution {name} of shape {list(shape)} is to be tuned, but the generator has "
            f"{found}",
            value=found,
            limit=list(shape),
        )
    return conv

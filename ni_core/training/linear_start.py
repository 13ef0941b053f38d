"""The start of a compact encoder: a trunk that knows something, read in the best linear way.

Descent alone needs 20 thousand pictures to come where this is after a minute.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ni_core.encoders.compact import CompactEncoder
from ni_core.encoders.protocol import fit_input
from ni_core.perceptual import Perceptual
from ni_core.training.encoder_batches import EncoderBatches
from ni_core.training.precision import mixed_precision
from ni_core.training.ridge import Fit, fit_ridge
from ni_core.training.runs import random_of

FLOOR = 0.01
"""Added to the spread of every feature, as a part of their mean spread."""

AT_ONCE = 32
"""Samples rendered together."""


@torch.no_grad()
def begin_linearly(
    encoder: CompactEncoder, perceptual: Perceptual, batches: EncoderBatches, *, n: int, seed: int
) -> Fit:
    """Take the trunk of a perceptual distance, and fit `base` to a generator's own samples.

    Args:
        encoder: Its trunk, `base`, `shift` and `scale` are set. A perceptual distance on another
            network than SqueezeNet leaves the trunk as it is.
        perceptual: The bundle's.
        batches: Gives samples with their rows.
        n: Samples.
        seed: Of them.

    Returns:
        The linear reading, and how well it reads.
    """
    slices = perceptual.network.net.state_dict()
    encoder.trunk.begin_from({key.split(".", 1)[1]: value for key, value in slices.items()})
    vectors, rows = [], []
    for part in range(-(-n // AT_ONCE)):
        drawn = batches.draw(AT_ONCE, random_of(seed, part, stream=4))
        vectors.append(_vectors(encoder, drawn.targets))
        rows.append(drawn.truths[:, 0])
    features = torch.cat(vectors)
    spread = features.std(dim=0)
    encoder.shift.copy_(features.mean(dim=0))
    encoder.scale.copy_(1 / (spread + FLOOR * spread.mean()))
    fit = fit_ridge((features - encoder.shift) * encoder.scale, torch.cat(rows))
    encoder.base.weight.copy_(fit.weight)
    if not encoder.needs_generator:
        encoder.base.bias.copy_(fit.bias)
    return fit


def _vectors(encoder: CompactEncoder, pictures: Tensor) -> Tensor:
    seen = fit_input(pictures, encoder.input_shape)
    with mixed_precision(pictures.device):
        return encoder.trunk.vector(seen).float()

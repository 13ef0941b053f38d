"""From z, and a class label where there is one, to w (arXiv:1812.04948, arXiv:2006.06676)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.generators.modulated import SLOPE, SQRT2, linear
from ni_core.generators.protocol import one_hot


class MappingNetwork(nn.Module):
    """Normalise to unit second moment, then fully connected layers with leaky ReLU.

    A conditional one embeds the label, normalises the embedding and joins it to z.

    Args:
        z_dim: Size of z.
        w_dim: Size of w.
        layers: Fully connected layers, from 1.
        width: Size of what is between them; None for `w_dim`.
        num_classes: Classes; 0 for none.
        embed_dim: Size of the embedded label; None for `w_dim`.
    """

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        layers: int,
        *,
        width: int | None = None,
        num_classes: int = 0,
        embed_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        embedded = (w_dim if embed_dim is None else embed_dim) if num_classes else 0
        hidden = w_dim if width is None else width
        widths = [z_dim + embedded, *[hidden] * (layers - 1), w_dim]
        if num_classes:
            self.embed = linear(num_classes, embedded, gain=1 / math.sqrt(num_classes))
        self.layers = nn.ModuleList(
            linear(inputs, outputs, gain=1 / math.sqrt(inputs))
            for inputs, outputs in pairwise(widths)
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map z `[n, z_dim]` to w `[n, w_dim]`; labels as in `one_hot`."""
        x = _normalized(z)
        if self.num_classes:
            rows = one_hot(labels, self.num_classes, z.shape[0], z)
            x = torch.cat([x, _normalized(self.embed(rows))], dim=1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE) * SQRT2
        return x


def _normalized(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)

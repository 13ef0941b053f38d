"""Heads of HyperStyle (arXiv:2111.15666): a feature map to relative changes of weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLOPE = 0.01


class Head(nn.Module):
    """Convolutions, the mean of what is left, and a linear layer: a map to numbers."""

    def __init__(
        self, inputs: int, hidden: int, code_dim: int, outputs: int, strides: Sequence[int]
    ) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (len(strides) - 1), code_dim]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, padding=1)
            for (before, after), stride in zip(pairwise(widths), strides, strict=True)
        )
        self.linear = nn.Linear(code_dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, outputs]`."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), _SLOPE)
        numbers: Tensor = self.linear(x.mean(dim=(2, 3)))
        return numbers


class SharedLayer(nn.Module):
    """Turns a code into a code for each output channel, and that into the channel's kernels."""

    def __init__(self, code_dim: int, shape: Sequence[int]) -> None:
        super().__init__()
        outputs, inputs, height, width = shape
        self.shape = (inputs, height, width)
        columns = inputs * height * width
        self.channel_weight = nn.Parameter(torch.zeros(code_dim, outputs * code_dim))
        self.channel_bias = nn.Parameter(torch.zeros(outputs * code_dim))
        self.kernel_weight = nn.Parameter(torch.zeros(code_dim, columns))
        self.kernel_bias = nn.Parameter(torch.zeros(columns))

    def forward(self, codes: Tensor) -> Tensor:
        """Codes `[n, code_dim]` to deltas `[n, outputs, inputs, k, k]`."""
        channels = torch.addmm(self.channel_bias, codes, self.channel_weight)
        channels = channels.unflatten(1, (-1, codes.shape[1]))
        kernels: Tensor = channels @ self.kernel_weight + self.kernel_bias
        return torch.unflatten(kernels, 2, self.shape)

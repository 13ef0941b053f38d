"""Small hypernetworks of HyperStyle files, with the names of the files, and what they compute.

Nothing here is shared with our network: batch norms stay batch norms, and layers are modules of
PyTorch or sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHARED = (0, 2, 3)
"""Numbers of the convolutions whose deltas come from the shared layer."""

CODE = 7
WIDTHS = (4, 5, 6, 8)


class Unit(nn.Module):
    """A residual unit of ResNet-34."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride == 2:
            project = nn.Conv2d(inputs, outputs, 1, 2, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Shared(nn.Module):
    """From a code of the picture to one of each output channel, and to the channel's kernels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(CODE, channels * 9))
        self.b1 = nn.Parameter(torch.empty(channels * 9))
        self.w2 = nn.Parameter(torch.empty(CODE, channels * CODE))
        self.b2 = nn.Parameter(torch.empty(channels * CODE))

    def forward(self, code: Tensor) -> Tensor:
        channels = len(self.b1) // 9
        first, first_bias = self.w2.view(CODE, channels, CODE), self.b2.view(channels, CODE)
        second, second_bias = self.w1.view(CODE, channels, 3, 3), self.b1.view(channels, 3, 3)
        codes = torch.einsum("nk,koc->noc", code, first) + first_bias
        return torch.einsum("noc,cihw->noihw", codes, second) + second_bias


class Block(nn.Module):
    """Predicts the deltas of one convolution of shape `[outputs, inputs, k, k]`."""

    def __init__(self, shape: tuple[int, ...], shared: Shared | None) -> None:
        super().__init__()
        self.shape = shape
        # From 16 pixels to one, or to two where the rest is averaged.
        strides = (1, 2, 2, 2, 2) if shared else (2, 2, 2, 2)[: 3 if shape[-1] == 3 else 4]
        layers: list[nn.Module] = []
        for index, stride in enumerate(strides):
            inputs = 3 if index else WIDTHS[-1]
            outputs = 3 if index < len(strides) - 1 else CODE
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        if shared:
            self.linear = nn.Linear(CODE, CODE)
            self.hypernet = shared
        else:
            last = nn.Conv2d(CODE, shape[0] * shape[1], 1)
            pool = [nn.AdaptiveAvgPool2d(1)] if shape[-1] == 3 else []
            self.output = nn.Sequential(*pool, last)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convs(x)
        if hasattr(self, "linear"):
            weight = self.linear.weight / math.sqrt(CODE)
            deltas: Tensor = self.hypernet(x.flatten(1) @ weight.T + self.linear.bias)
            return deltas
        outputs, inputs, side, _ = self.shape
        numbers: Tensor = self.output(x)
        return numbers.view(-1, outputs, inputs, 1, 1).repeat(1, 1, 1, side, side)


class Hypernetwork(nn.Module):
    """A whole hypernetwork; its state dict repeats the shared layer in each block that uses it."""

    def __init__(self, shapes: Mapping[int, tuple[int, ...]]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(6, WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.PReLU(WIDTHS[0])
        widths = [WIDTHS[0], WIDTHS[0], WIDTHS[0], *WIDTHS[1:], WIDTHS[-1]]
        self.body = nn.Sequential(*map(Unit, widths[:-1], widths[1:]))
        self.shared_weight_hypernet = Shared(shapes[SHARED[0]][0])
        self.refinement_blocks = nn.ModuleDict(
            {
                str(number): Block(shape, self.shared_weight_hypernet if number in SHARED else None)
                for number, shape in shapes.items()
            }
        )

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        x = self.body(self.relu(self.bn1(self.conv1(x))))
        return {int(number): block(x) for number, block in self.refinement_blocks.items()}


def random_hypernetwork(shapes: Mapping[int, tuple[int, ...]]) -> Hypernetwork:
    """Make a hypernetwork with random weights, and statistics of a training that never was.

    Args:
        shapes: Shapes of the weights it tunes, by their number.
    """
    network = Hypernetwork(shapes).eval().requires_grad_(False)
    source = torch.Generator().manual_seed(5)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=source)
        elif tensor.is_floating_point():
            scale = 1 / math.sqrt(tensor[0].numel()) if tensor.dim() == 4 else 0.3
            tensor.normal_(0, scale, generator=source)
    return network

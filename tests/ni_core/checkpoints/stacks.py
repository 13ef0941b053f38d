"""Plain stacks of layers, and files of their weights."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class View(nn.Module):
    """Reshape, from either order."""

    def __init__(self, *shape: int, channels_last: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            channels, height, width = self.shape
            return x.view(-1, height, width, channels).movedim(3, 1)
        return x.view(-1, *self.shape)


class Crop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[..., :-1, :-1]


def norm(channels: int, eps: float = 1e-5) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=eps)


def dcgan(
    z_dim: int, widths: list[int], kernels: list[int], *, bias: bool = False
) -> nn.Sequential:
    """A network as PyTorch's example: kernels of all layers, widths of their outputs."""
    layers: list[nn.Module] = []
    inputs = z_dim
    for index, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
        last_cut = kernel == 1
        stride = 1 if index == 0 or last_cut else 2
        padding = 0 if index == 0 else 2 if last_cut else kernel // 2 - 1
        layers.append(nn.ConvTranspose2d(inputs, width, kernel, stride, padding, bias=bias))
        if index < len(widths) - 1:
            layers += [norm(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Tanh())


def perceptron(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Tanh())


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fill everything, running statistics too."""
    source = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            values = torch.rand(tensor.shape, generator=source)
            tensor.copy_(values + 0.5 if name.endswith("var") else values - 0.5)
    return network.eval()


def stored(
    network: nn.Module, folder: Path, wrap: Callable[[Any], Any] = lambda state: state
) -> Path:
    torch.save(wrap(network.state_dict()), folder / "g")
    return folder / "g"


def rendered(network: nn.Module, z: Tensor) -> Tensor:
    with torch.no_grad():
        image: Tensor = network(z)
        return image.expand(-1, 3, -1, -1)


def layout(folder: Path, **fields: Any) -> Path:
    path = folder / "layout.json"
    path.write_text(json.dumps(fields))
    return path

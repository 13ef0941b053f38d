"""Random feature networks and pictures."""

import torch
import torchvision
from torch import Tensor

from ni_core.perceptual import Architecture

TORCHVISION = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}


def random_trunk(architecture: Architecture) -> dict[str, Tensor]:
    with torch.device("meta"):
        features = getattr(torchvision.models, TORCHVISION[architecture])().features
    generator = torch.Generator().manual_seed(0)

    def fill(shape: torch.Size) -> Tensor:
        fan_in = max(1, shape[1:].numel())
        return torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5

    return {f"features.{key}": fill(value.shape) for key, value in features.state_dict().items()}


def random_images(n: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1

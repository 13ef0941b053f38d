"""SqueezeNet 1.1 (arXiv:1602.07360) as the trunk of the compact encoders, in plain PyTorch.

It is the network of most bundles' perceptual distance, so an encoder can begin with what that
knows already. It has no batch norm: pictures do not touch each other while it is trained.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

MEAN, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""How pictures in [-1, 1] are normalised: torchvision's means and deviations on this range."""

SMALLEST_PX = 17
"""Smaller pictures leave the last map without a pixel."""

STEM = 64
"""Channels of the first convolution."""

FIRES = (
    (3, 16, 128),
    (4, 16, 128),
    (6, 32, 256),
    (7, 32, 256),
    (9, 48, 384),
    (10, 48, 384),
    (11, 64, 512),
    (12, 64, 512),
)
"""Number in torchvision's list, channels inside and channels that go out of each module."""

POOLED_BEFORE = frozenset({3, 6, 9})
"""Numbers of the modules before which the sides are halved."""


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 ones side by side."""

    def __init__(self, inputs: int, inside: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, inside, 1)
        self.expand1x1 = nn.Conv2d(inside, outputs // 2, 1)
        self.expand3x3 = nn.Conv2d(inside, outputs // 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, outputs, h, w]`."""
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class SqueezeTrunk(nn.Module):
    """Pictures to one vector: the last map, and the mean of each channel of those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 3, 2)
        widths = [STEM, *(outputs for _, _, outputs in FIRES)]
        self.fires = nn.ModuleList(
            Fire(inputs, inside, outputs)
            for inputs, (_, inside, outputs) in zip(widths, FIRES, strict=False)
        )

    def maps(self, pictures: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """Feature map after each convolution or module that changes the channels, finest first.

        Args:
            pictures: RGB in [-1, 1], at least `SMALLEST_PX` a side.
        """
        mean, scale = pictures.new_tensor(MEAN), pictures.new_tensor(SCALE)
        x = F.relu(self.stem((pictures - mean[:, None, None]) / scale[:, None, None]))
        seen = [x]
        for (number, _, _), fire in zip(FIRES, self.fires, strict=True):
            if number in POOLED_BEFORE:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            x = fire(x)
            seen.append(x)
        return seen

    def vector(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n features"]:
        """Where things are, by the last map, and what they look like, by the means of the others.

        Args:
            pictures: RGB in [-1, 1], at least `SMALLEST_PX` a side.
        """
        *fine, last = self.maps(pictures)
        means = [x.mean(dim=(2, 3)) for x in fine]
        return torch.cat([last.flatten(1), *means], dim=1)

    def begin_from(self, weights: Mapping[str, Tensor]) -> bool:
        """Take weights under torchvision's numbers, as `3.squeeze.weight` and `0.bias`.

        Returns:
            Whether they were those of this network; if not, nothing is taken.
        """
        names = {"stem": 0} | {f"fires.{i}": number for i, (number, _, _) in enumerate(FIRES)}
        taken = {
            f"{ours}.{rest}": weights.get(f"{number}.{rest}")
            for ours, number in names.items()
            for rest in self.get_submodule(ours).state_dict()
        }
        own = self.state_dict()
        if any(value is None or value.shape != own[name].shape for name, value in taken.items()):
            return False
        self.load_state_dict({k: v for k, v in taken.items() if v is not None})
        return True


def vector_size(side: int) -> int:
    """Numbers in `SqueezeTrunk.vector` of a picture of this side."""
    last = (side - 3) // 2 + 1
    for _ in POOLED_BEFORE:
        last = -(-(last - 3) // 2) + 1
    return FIRES[-1][2] * last**2 + STEM + sum(outputs for _, _, outputs in FIRES[:-1])

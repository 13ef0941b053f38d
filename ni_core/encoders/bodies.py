"""Bodies of the pSp encoders: pictures to feature maps at four scales.

Two kinds. `irse` is IR-SE-50 of the ArcFace face recognisers (arXiv:1801.07698), with residual
units whose result is weighted by squeeze and excitation (arXiv:1709.01507). `resnet` is ResNet-34
(arXiv:1512.03385) with a PReLU after its stem and without its max-pool. Batch norms are folded
into the convolutions before them; the one that opens an IR-SE unit stays a scale and a shift,
because the convolution after it pads with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class IrSeUnit(nn.Module):
    """Scale and shift, two 3x3 convolutions, squeeze and excitation, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, squeezed: int) -> None:
        super().__init__()
        self.stride = stride
        self.scale = nn.Parameter(torch.ones(inputs, 1, 1))
        self.shift = nn.Parameter(torch.zeros(inputs, 1, 1))
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.slope = nn.Parameter(torch.full((outputs,), 0.25))
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1)
        self.squeeze = nn.Conv2d(outputs, squeezed, 1, bias=False)
        self.excite = nn.Conv2d(squeezed, outputs, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`."""
        y = self.conv1(torch.addcmul(self.shift, x, self.scale))
        y = self.conv2(F.prelu(y, self.slope))
        weights = self.excite(F.relu(self.squeeze(y.mean(dim=(2, 3), keepdim=True))))
        kept = (
            x[:, :, :: self.stride, :: self.stride] if self.shortcut is None else self.shortcut(x)
        )
        return torch.addcmul(kept, y, weights.sigmoid())


class ResNetUnit(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        down = inputs != outputs or stride != 1
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if down else None

    def forward(self, x: Tensor) -> Tensor:
        """Feature map `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`."""
        y = self.conv2(F.relu(self.conv1(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Body(nn.Module):
    """A stem and four groups of residual units; each group halves the sides or keeps them."""

    def __init__(
        self,
        kind: str,
        inputs: int,
        widths: Sequence[int],
        units: Sequence[int],
        reduction: int,
    ) -> None:
        """Make a body.

        Args:
            kind: `irse` or `resnet`.
            inputs: Channels of the picture.
            widths: Channels of each group.
            units: Residual units of each group.
            reduction: Squeeze and excitation has so many times fewer channels inside.
        """
        super().__init__()
        irse = kind == "irse"
        self.stem = nn.Conv2d(inputs, widths[0], *((3, 1, 1) if irse else (7, 2, 3)))
        self.slope = nn.Parameter(torch.full((widths[0],), 0.25))
        groups: list[nn.Module] = []
        channels = widths[0]
        for index, (width, count) in enumerate(zip(widths, units, strict=True)):
            group: list[nn.Module] = []
            for unit in range(count):
                stride = 2 if unit == 0 and (irse or index > 0) else 1
                group.append(
                    IrSeUnit(channels, width, stride, width // reduction)
                    if irse
                    else ResNetUnit(channels, width, stride)
                )
                channels = width
            groups.append(nn.Sequential(*group))
        self.groups = nn.ModuleList(groups)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pictures `[n, inputs, h, w]` to the result of each group, the finest first."""
        x = F.prelu(self.stem(x), self.slope)
        maps: list[Tensor] = []
        for group in self.groups:
            x = group(x)
            maps.append(x)
        return maps

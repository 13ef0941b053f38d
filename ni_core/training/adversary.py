"""The two discriminators of generator training.

`ProjectedCritic` looks at the features of a frozen network (Projected GANs,
arXiv:2111.01007): it gives faces early. `PixelCritic` looks at the pixels and at how
much a batch varies (minibatch standard deviation, arXiv:1710.10196), with the R1
penalty (arXiv:1801.04406): it holds colours and variety.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ni_core.training.regressor import Regressor
from ni_core.training.residual_regressor import ResidualRegressor

MIXED_WIDTH = 64
"""Channels of every tap after the fixed mixing."""

SLOPE = 0.2
"""Negative slope of every leaky ReLU."""

GROUP = 8
"""Pictures whose spread the minibatch statistic compares; a batch is cut into such groups."""


class ProjectedCritic(nn.Module):
    """Spectral-norm heads on mixed features of a frozen regressor.

    Taps are scaled to unit root mean square, mixed by fixed random 1x1 convolutions and
    added from coarse to fine; each level has its own head.

    Args:
        regressor: Frozen; shared, not a part of this module's weights.
    """

    scales: Tensor

    def __init__(self, regressor: Regressor | ResidualRegressor) -> None:
        super().__init__()
        self._regressor = (regressor,)
        widths = regressor.tap_widths
        self.mixes = nn.ModuleList(_mix(width) for width in widths).requires_grad_(False)
        self.heads = nn.ModuleList(_Head(level) for level in range(len(widths)))
        self.register_buffer("scales", torch.ones(len(widths)))

    @torch.no_grad()
    def calibrate(self, pictures: Tensor) -> None:
        """Set the scales so that taps of these pictures have unit root mean square."""
        taps = self.taps(pictures)
        self.scales.copy_(torch.stack([tap.float().square().mean().rsqrt() for tap in taps]))

    def taps(self, pictures: Tensor) -> list[Tensor]:
        """Features of pictures `[n, 3, r, r]` as the regressor gives them, finest first."""
        return self._regressor[0].taps(pictures)

    def project(self, pictures: Tensor) -> list[Tensor]:
        """Mixed features of pictures `[n, 3, r, r]`, finest first; heads judge them."""
        taps = self.taps(pictures)
        mixed = [
            mix(tap * scale.to(tap.dtype))
            for mix, tap, scale in zip(self.mixes, taps, self.scales, strict=True)
        ]
        for level in range(len(mixed) - 2, -1, -1):
            coarse = functional.interpolate(mixed[level + 1], scale_factor=2.0)
            mixed[level] = (mixed[level] + coarse) * 0.5**0.5
        return mixed

    def judge(self, features: list[Tensor]) -> list[Tensor]:
        """Maps of scores, one per level; high = real."""
        return [head(x) for head, x in zip(self.heads, features, strict=True)]

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Scores of pictures `[n, 3, r, r]` in [-1, 1]."""
        return self.judge(self.project(pictures))


def _mix(width: int) -> nn.Conv2d:
    """Random 1x1 convolution that keeps the size of its input."""
    mix = nn.Conv2d(width, MIXED_WIDTH, 1, bias=False)
    nn.init.normal_(mix.weight, std=width**-0.5)
    return mix


class _Head(nn.Module):
    """Patch scores from one level; the two coarse ones also see the spread of the batch."""

    def __init__(self, level: int) -> None:
        super().__init__()
        stride = 2 if level == 0 else 1
        self.first = spectral_norm(nn.Conv2d(MIXED_WIDTH, MIXED_WIDTH, 3, stride, 1))
        self.second = spectral_norm(nn.Conv2d(MIXED_WIDTH, MIXED_WIDTH, 3, 1, 1))
        self.spread = nn.Parameter(torch.zeros(MIXED_WIDTH)) if level >= 2 else None
        self.last = spectral_norm(nn.Conv2d(MIXED_WIDTH, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.leaky_relu(self.first(x), SLOPE)
        hidden = self.second(x)
        if self.spread is not None:
            hidden = hidden + spread_of(x, self.spread)
        scores: Tensor = self.last(functional.leaky_relu(hidden, SLOPE))
        return scores.float()


class PixelCritic(nn.Module):
    """Plain convolutional discriminator on pixels with the minibatch statistic.

    Args:
        resolution: Side of the pictures in pixels, a power of two from 8.
        widths: Channels at 1/2, 1/4, ... of the resolution, down to 4 px.
    """

    def __init__(self, resolution: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if resolution != 4 << len(widths):
            raise ValueError(f"{len(widths)} widths do not lead from {resolution} px to 4 px")
        self.steps = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip((3, *widths), widths, strict=False)
        )
        self.joint = nn.Conv2d(widths[-1], widths[-1], 3, 1, 1)
        self.spread = nn.Parameter(torch.zeros(widths[-1]))
        self.hidden = nn.Linear(widths[-1] * 16, widths[-1])
        self.last = nn.Linear(widths[-1], 1)
        for layer in self._weighted():
            nn.init.normal_(layer.weight, std=_he_gain(layer.weight))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def _weighted(self) -> list[nn.Conv2d | nn.Linear]:
        return [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores `[n]` of pictures `[n, 3, r, r]` in [-1, 1]; high = real."""
        x = pictures
        for step in self.steps:
            x = functional.leaky_relu(step(x), SLOPE)
        x = functional.leaky_relu(self.joint(x) + spread_of(x, self.spread), SLOPE)
        x = functional.leaky_relu(self.hidden(x.flatten(1)), SLOPE)
        scores: Tensor = self.last(x)
        return scores.squeeze(1).float()

    def parameter_gains(self) -> dict[str, float]:
        """Learning-rate factor of every parameter: the equalised learning rate."""
        return {
            name: _he_gain(value) if value.ndim > 1 else 1.0
            for name, value in self.named_parameters()
        }


def _he_gain(weight: Tensor) -> float:
    return float((2 / weight[0].numel()) ** 0.5)


def spread_of(x: Tensor, weight: Tensor) -> Tensor:
    """Mean standard deviation within each group of pictures, times a weight per channel.

    Added to a convolution's result this is the minibatch statistic as one more input
    channel, without an odd number of channels.

    Args:
        x: Features `[n, c, h, w]`.
        weight: `[c']`.

    Returns:
        `[n, c', 1, 1]`, in the type of `x`.
    """
    n = len(x)
    size = GROUP if n % GROUP == 0 else n
    groups = x.float().unflatten(0, (n // size, size))
    variance = groups.square().mean(dim=1) - groups.mean(dim=1).square()
    spread = variance.clamp(min=1e-8).sqrt().mean(dim=(1, 2, 3)).repeat_interleave(size)
    channels: Tensor = spread[:, None] * weight
    return channels[:, :, None, None].to(x.dtype)


def hinge(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Hinge loss of a discriminator with several levels."""
    terms = [
        functional.relu(1 - a).mean() + functional.relu(1 + b).mean()
        for a, b in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def gradient_penalty(critic: PixelCritic, real: Tensor) -> Tensor:
    """R1: mean squared length of the score's gradient at real pictures (no autocast)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def augment(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Mild differentiable augmentation: brightness, shift, cut-out (arXiv:2006.10738).

    Args:
        pictures: `[n, 3, r, r]` in [-1, 1].
        random: Source of the amounts, on the CPU.
    """
    n, _, height, width = pictures.shape
    amounts = torch.rand(n, 5, generator=random).to(pictures.device)
    pictures = pictures + (amounts[:, 0] - 0.5).mul(0.2)[:, None, None, None]
    pictures = _translate(pictures, amounts[:, 1:3].mul(2).sub(1) * (BORDER * height))
    rows = torch.arange(height, device=pictures.device)[None] - amounts[:, 3:4] * height
    columns = torch.arange(width, device=pictures.device)[None] - amounts[:, 4:5] * width
    hole = (rows.abs() < height / 8)[:, :, None] & (columns.abs() < width / 8)[:, None, :]
    return pictures.masked_fill(hole[:, None], 0)


BORDER = 0.1
"""Largest shift of the augmentation, as part of the side."""


def _translate(pictures: Tensor, offset_px: Tensor) -> Tensor:
    """Shift each picture by whole pixels `[n, 2]`, repeating the edge."""
    n, _, height, width = pictures.shape
    offset = offset_px.round().long()
    rows = (torch.arange(height, device=pictures.device) + offset[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=pictures.device) + offset[:, 1:]).clamp(0, width - 1)
    batch = torch.arange(n, device=pictures.device)[:, None, None]
    moved = pictures.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)

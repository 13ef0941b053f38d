"""Networks that read factors from pictures, and how they are trained.

Two of them: `Regressor` is small; frozen, it is the feature space of the generator's
discriminator. `squeezenet_regressor` has torchvision's SqueezeNet 1.1 in front, whose
`features` become the perceptual trunk. They share no weights, so the trunk can judge
a generator that was trained against the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import squeezenet1_1

from ni_core.training.picture_set import TEST_START, Pictures
from ni_core.training.portraits import FACTOR_NAMES, factors_at, render, sample_factors
from ni_core.training.precision import mixed_precision

TAP_WIDTHS = (32, 64, 96, 128)
"""Channels of the four taps, at 1/2, 1/4, 1/8 and 1/16 of the picture's side."""

TRUNK_MEAN, TRUNK_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""How the lpips package normalises pictures in [-1, 1] before its trunk."""

SHIFT_PX = 4
"""Pictures are moved by up to so many pixels while a regressor is trained."""


class Regressor(nn.Module):
    """Compact convolutional net from pictures to standardised factors.

    Args:
        resolution: Side of the pictures in pixels, a multiple of 16.
    """

    tap_widths = TAP_WIDTHS

    def __init__(self, resolution: int = 64) -> None:
        super().__init__()
        self.resolution = resolution
        inputs = (3, *TAP_WIDTHS[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(_Layer(a, b, stride=2), _Layer(b, b))
            for a, b in zip(inputs, TAP_WIDTHS, strict=True)
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(TAP_WIDTHS[-1] * (resolution // 16) ** 2, 256),
            nn.ReLU(),
            nn.Linear(256, len(FACTOR_NAMES)),
        )

    def taps(self, pictures: Tensor) -> list[Tensor]:
        """Features after each stage, finest first, of pictures `[n, 3, r, r]` in [-1, 1]."""
        taps = []
        for stage in self.stages:
            pictures = stage(pictures)
            taps.append(pictures)
        return taps

    def forward(self, pictures: Tensor) -> Tensor:
        """Standardised factors `[n, F]` of pictures `[n, 3, r, r]` in [-1, 1]."""
        read: Tensor = self.head(self.taps(pictures)[-1])
        return read

    def freeze(self) -> Regressor:
        """Make it a fixed function: normalisation folded into the convolutions, no gradients."""
        self.eval().requires_grad_(False)
        for layer in self.modules():
            if isinstance(layer, _Layer):
                layer.fold()
        return self


class _Layer(nn.Module):
    """Convolution, batch normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.norm(self.conv(x)), 0.2)

    def fold(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class SqueezeNetRegressor(nn.Module):
    """torchvision's SqueezeNet 1.1 features with one linear layer to the factors."""

    mean: Tensor
    scale: Tensor

    def __init__(self, resolution: int = 64) -> None:
        super().__init__()
        self.resolution = resolution
        self.features = squeezenet1_1(weights=None).features
        self.register_buffer("mean", torch.tensor(TRUNK_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(TRUNK_SCALE).view(3, 1, 1), persistent=False)
        with torch.no_grad():
            flat = self.features(torch.zeros(1, 3, resolution, resolution)).numel()
        self.head = nn.Linear(flat, len(FACTOR_NAMES))

    def forward(self, pictures: Tensor) -> Tensor:
        """Standardised factors `[n, F]` of pictures `[n, 3, r, r]` in [-1, 1]."""
        read: Tensor = self.head(self.extract(pictures).flatten(1))
        return read

    def extract(self, pictures: Tensor) -> Tensor:
        """Last features `[n, 512, h, w]` of pictures `[n, 3, r, r]` in [-1, 1]."""
        features: Tensor = self.features((pictures - self.mean) / self.scale)
        return features


def save_regressor(network: nn.Module, path: Path) -> None:
    """Write the weights as safetensors."""
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, path)


def load_regressor(path: Path, resolution: int = 64) -> Regressor:
    """Read a `Regressor`, frozen."""
    network = Regressor(resolution)
    network.load_state_dict(load_file(path))
    return network.freeze()


def standards() -> tuple[Tensor, Tensor]:
    """Mean and standard deviation `[F]` of every factor over pictures."""
    drawn = sample_factors(0, TEST_START, 8192)
    return drawn.mean(dim=0), drawn.std(dim=0)


def train_regressor(
    network: nn.Module,
    pictures: Pictures,
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    device: torch.device,
    report: Callable[[str], None] = print,
) -> None:
    """Train a regressor in place by AdamW with a one-cycle learning rate.

    Args:
        network: From pictures to standardised factors.
        pictures: Training pictures.
        steps: Optimiser iterations.
        batch: Pictures per step.
        rate: Highest learning rate.
        seed: Of order and shifts.
        device: Where to train, in mixed precision.
        report: Takes a line of progress now and then.
    """
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    mean, std = (value.to(device) for value in standards())
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    random = torch.Generator().manual_seed(seed)
    order = _epochs(len(pictures), steps * batch, random)
    started, smoothed = time.monotonic(), math.nan
    for step in range(steps):
        indices = order[step * batch : (step + 1) * batch]
        wanted = (factors_at(pictures.seed, indices).to(device) - mean) / std
        seen = shift(pictures.take(indices, device), SHIFT_PX, random)
        with mixed_precision(device):
            read = network(seen.contiguous(memory_format=torch.channels_last))
        loss = functional.smooth_l1_loss(read.float(), wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        smoothed = loss.item() if step == 0 else 0.98 * smoothed + 0.02 * loss.item()
        if step % 50 == 0 or step == steps - 1:
            report(
                f"step {step + 1}/{steps} loss {smoothed:.4f} {time.monotonic() - started:.0f} s"
            )


def _epochs(length: int, total: int, random: torch.Generator) -> Tensor:
    """Indices `[total]`: every picture once per epoch, each epoch in another order."""
    epochs = -(-total // length)
    return torch.cat([torch.randperm(length, generator=random) for _ in range(epochs)])[:total]


def shift(pictures: Tensor, most_px: int, random: torch.Generator) -> Tensor:
    """Move each picture by its own whole number of pixels, repeating the edge."""
    n, _, height, width = pictures.shape
    offset = torch.randint(0, 2 * most_px + 1, (n, 2), generator=random).to(pictures.device)
    padded = functional.pad(pictures, (most_px,) * 4, mode="replicate")
    rows = offset[:, :1] + torch.arange(height, device=pictures.device)
    columns = offset[:, 1:] + torch.arange(width, device=pictures.device)
    batch = torch.arange(n, device=pictures.device)[:, None, None]
    moved: Tensor = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


@torch.no_grad()
def determination(
    network: nn.Module, *, seed: int, n: int, device: torch.device
) -> dict[str, float]:
    """R² of every factor on `n` renders that no training saw.

    Returns:
        Name of the factor -> 1 - squared error / variance.
    """
    network.to(device).eval()
    factors = sample_factors(seed, TEST_START, n)
    mean, std = standards()
    wanted = (factors - mean) / std
    resolution = cast(int, network.resolution)
    read = torch.cat(
        [network(render(part.to(device), resolution)).float().cpu() for part in factors.split(64)]
    )
    unexplained = (read - wanted).square().mean(dim=0) / wanted.var(dim=0)
    return {
        name: round(1 - v, 3) for name, v in zip(FACTOR_NAMES, unexplained.tolist(), strict=True)
    }

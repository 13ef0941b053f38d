"""What the files of grown generators share: PGGAN and the ports of the first StyleGAN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ni_core.checkpoints.conversion import Rule, copy
from ni_core.errors import CheckpointError

FUSED_FROM = 128
"""From this resolution in pixels on, the first StyleGAN upsamples by transposed convolutions."""


@dataclass(frozen=True)
class Growth:
    """How far a generator has grown.

    Attributes:
        all_blocks: Resolutions in the file, from 4 px.
        blocks: Those in use.
        previous_rgb: Share of the last but one of them in the RGB output.
    """

    all_blocks: int
    blocks: int
    previous_rgb: float = 0.0

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return 2 << self.blocks

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence where the image is smaller than the file allows."""
        if self.blocks == self.all_blocks:
            return ()
        return (f"grown to {self.resolution} px of the {2 << self.all_blocks} px it has room for",)


def growth(tensors: Mapping[str, Tensor], key: str, blocks: int) -> Growth:
    """Read the level of detail: so many of the file's resolutions are not in use yet.

    Args:
        tensors: The state dict; without the level all resolutions are in use.
        key: Key of the level.
        blocks: Resolutions in the file.

    Raises:
        CheckpointError: It leaves no resolution.
    """
    level = float(tensors[key].reshape(-1)[:1].sum()) if key in tensors else 0.0
    if not 0 <= level <= blocks - 1:
        raise CheckpointError(
            f"level of detail {level} is not from 0 to {blocks - 1}", value=level, limit=blocks - 1
        )
    return Growth(blocks, blocks - int(level), level - int(level))


def convolution(key: str) -> Rule:
    """A 3x3 convolution `[outputs, inputs, 3, 3]` with the gain of He's rule."""
    return Rule((key,), _he)


def nearest(key: str) -> Rule:
    """The same after nearest-neighbour upsampling, as one transposed convolution of 4x4."""
    return Rule((key,), lambda weight: _spread(_he(weight).flip(2, 3).transpose(0, 1)))


def fused(key: str, axes: str = "oihw", *, gain: float = 1.0) -> Rule:
    """A 3x3 transposed convolution whose four shifts are summed, as one of 4x4.

    Args:
        key: The weight.
        axes: What its axes are: outputs, inputs, height and width.
        gain: What the sum is multiplied by; 1/4 makes it the mean.
    """

    def fuse(weight: Tensor) -> Tensor:
        ordered = weight.permute([axes.index(axis) for axis in "iohw"])
        return _spread(ordered * (gain * math.sqrt(2 / (9 * ordered.shape[0]))))

    return Rule((key,), fuse)


def equalized(key: str, gain: float = 1.0) -> Rule:
    """A fully connected layer or 1x1 convolution, of standard deviation gain / sqrt(inputs)."""
    return Rule((key,), lambda weight: weight * (gain / math.sqrt(weight.shape[1])))


def rgb_rules(ours: str, weight: str, bias: str, *, gain: float = 1.0) -> dict[str, Rule]:
    """Rules of a layer that makes RGB, by our name and their keys."""
    return {f"{ours}.weight": equalized(weight, gain), f"{ours}.bias": copy(bias)}


def _he(weight: Tensor) -> Tensor:
    return weight * math.sqrt(2 / (9 * weight.shape[1]))


def _spread(weight: Tensor) -> Tensor:
    """Sum of a 3x3 kernel at the four places it can have in a 4x4 one."""
    return F.avg_pool2d(F.pad(weight.float(), (1, 1, 1, 1)), 2, 1, divisor_override=1)

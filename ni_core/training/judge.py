"""The judge: a factor reader that no other network was trained with or against.

It has its own widths, its own stream of renders and its own seed, and is used by the commands that
evaluate alone: neither the generator nor the perceptual distance ever sees it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ni_core.training.residual_regressor import ResidualRegressor

STEM_WIDTH = 24
"""Channels at the full resolution."""

STAGE_WIDTHS = (48, 80, 128, 192)
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the picture's side."""


class Judge(ResidualRegressor):
    """Residual network from pictures to standardised factors.

    Args:
        resolution: Side of the pictures in pixels, a multiple of 16.
    """

    def __init__(self, resolution: int = 64) -> None:
        super().__init__(resolution, (STEM_WIDTH, *STAGE_WIDTHS))

    def extract(self, pictures: Tensor) -> Tensor:
        """Features `[n, 320]` of pictures: the last two stages, averaged over positions."""
        return torch.cat([stage.mean(dim=(2, 3)) for stage in self.maps(pictures)[-2:]], dim=1)


def export_judge(network: Judge, path: Path) -> None:
    """Write the weights in half precision, as a bundle keeps them."""
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(weights, path)

"""A residual network that reads factors, expressions among them.

The plain `Regressor` reads a smile with an R² of 0.76 and the shape of a jaw hardly at all; this
one reads both. Frozen, it is the feature space of a second projected discriminator, and of the
descents and encoders of the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from safetensors.torch import load_file
from torch import Tensor, nn

from ni_core.bundles.manifest import FEATURES_PART
from ni_core.encoders.frozen import READER, FeaturesConfig
from ni_core.encoders.residual import ResidualTrunk
from ni_core.training.portraits import FACTOR_NAMES
from ni_core.training.runs import write_part

WIDTHS = (24, 48, 96, 128, 160)
"""Channels at the full resolution, and at 1/2, 1/4, 1/8 and 1/16 of the side."""


class ResidualRegressor(ResidualTrunk):
    """Residual network from pictures to standardised factors.

    Args:
        resolution: Side of the pictures in pixels, a multiple of 16.
        widths: Channels of the stem, and at 1/2, 1/4, 1/8 and 1/16 of the side.
    """

    def __init__(self, resolution: int = 64, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__(3, widths)
        self.resolution, self.widths = resolution, tuple(widths)
        self.head = nn.Linear(widths[-1] * (resolution // 16) ** 2, len(FACTOR_NAMES))

    def forward(self, pictures: Tensor) -> Tensor:
        """Standardised factors `[n, F]` of pictures `[n, 3, r, r]` in [-1, 1]."""
        read: Tensor = self.head(self.maps(pictures)[-1].flatten(1))
        return read

    @property
    def tap_widths(self) -> tuple[int, ...]:
        """Channels of what `taps` gives."""
        return self.widths[1:]

    def taps(self, pictures: Tensor) -> list[Tensor]:
        """Features after each stage, finest first, of pictures `[n, 3, r, r]` in [-1, 1]."""
        return self.maps(pictures)

    def freeze(self) -> Self:
        """Make it a fixed function without gradients; normalisation costs as little as can be."""
        self.eval().requires_grad_(False)
        self.fold()
        return self

    @classmethod
    def load(cls, path: Path, resolution: int = 64) -> Self:
        """Read weights of either precision; frozen, in single precision.

        Args:
            path: A safetensors file of its `state_dict`.
            resolution: Side of the pictures in pixels.
        """
        network = cls(resolution)
        network.load_state_dict(load_file(path))
        return network.freeze()


def export_reader(network: ResidualRegressor, folder: Path, *, training: Mapping[str, Any]) -> None:
    """Write it without its head, as the part of a bundle that descents compare pictures by.

    Args:
        network: Not frozen, which would rename its weights.
        folder: Of the part: `features.safetensors` and `features.json`.
        training: How it was trained, and what was measured.
    """
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    write_part(
        folder,
        FEATURES_PART,
        {name: value for name, value in weights.items() if not name.startswith("network.head.")},
        family=READER,
        config=FeaturesConfig(READER, side=network.resolution, widths=network.widths),
        generator=None,
        training=training,
    )

"""Which StyleGAN2 it is: sizes, widths and the choices that files in circulation differ in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ni_core.errors import BrokenBundleError
from ni_core.generators.protocol import Prior, Space
from ni_core.generators.resampling import LINEAR

Architecture = Literal["skip", "residual", "plain"]
"""How blocks are joined: RGB of all blocks added up, features added up, or neither."""

_MAX_TAPS = 64


@dataclass(frozen=True)
class StyleGAN2Config:
    """Architecture of one StyleGAN2.

    Attributes:
        resolution: Side of the image in pixels, a power of two from 8.
        z_dim: Size of z.
        w_dim: Size of w.
        mapping_layers: Fully connected layers from z to w.
        channels: Feature channels at 4, 8, ..., `resolution` pixels.
        noise: Whether convolutions have spatial noise inputs.
        architecture: `"skip"` adds up the RGB of all blocks; `"residual"` adds features past each
            block by a 1x1 convolution; `"plain"` does neither, and both have RGB at the end alone.
        filter: Taps of the low-pass filter of every doubling, 1 to 64, of any sum but 0.
        clamp: Largest magnitude of features and RGB; None for no limit.
        num_classes: Classes of a conditional generator; 0 for none.
        embed_dim: Size of the embedded label; None for `w_dim`.
        mapping_width: Size of what is between the layers of the mapping; None for `w_dim`.
        image_channels: 3 for RGB, 1 for grey.
    """

    resolution: int
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channels: tuple[int, ...] = ()
    noise: bool = True
    architecture: Architecture = "skip"
    filter: tuple[float, ...] = LINEAR
    clamp: float | None = None
    num_classes: int = 0
    embed_dim: int | None = None
    mapping_width: int | None = None
    image_channels: int = 3

    def __post_init__(self) -> None:
        blocks = int(math.log2(self.resolution)) - 1 if self.resolution >= 8 else 0
        if blocks < 2 or 2 ** (blocks + 1) != self.resolution:
            raise BrokenBundleError(
                f"resolution {self.resolution} is not a power of two from 8", value=self.resolution
            )
        if len(self.channels) != blocks:
            raise BrokenBundleError(
                f"{len(self.channels)} channel counts given, {blocks} needed for "
                f"{self.resolution} px",
                value=len(self.channels),
                limit=blocks,
            )
        self._check_options()

    def _check_options(self) -> None:
        if self.mapping_layers < 1:
            raise BrokenBundleError(
                f"{self.mapping_layers} mapping layers; there must be 1 at least",
                value=self.mapping_layers,
                limit=1,
            )
        architectures = list(get_args(Architecture))
        if self.architecture not in architectures:
            raise BrokenBundleError(
                f"architecture {self.architecture!r} is not one of {', '.join(architectures)}",
                value=self.architecture,
                limit=architectures,
            )
        if not 1 <= len(self.filter) <= _MAX_TAPS or sum(self.filter) == 0:
            raise BrokenBundleError(
                f"a filter of {len(self.filter)} taps with the sum {sum(self.filter):g} needs 1 to "
                f"{_MAX_TAPS} taps whose sum is not 0",
                value=len(self.filter),
                limit=_MAX_TAPS,
            )
        if self.image_channels not in (1, 3):
            raise BrokenBundleError(
                f"{self.image_channels} image channels: only 3 (RGB) and 1 (grey) can be shown",
                value=self.image_channels,
                limit=[3, 1],
            )

    @property
    def num_layers(self) -> int:
        """Rows of W+: 2 log2(resolution) - 2."""
        return 2 * len(self.channels)

    @property
    def spaces(self) -> frozenset[Space]:
        """Latent spaces of the family."""
        return frozenset({"z", "w", "w+"})

    @property
    def prior(self) -> Prior:
        """Law of z."""
        return "normal"

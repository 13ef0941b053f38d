"""Which StyleGAN3 it is, and the geometry of its layers that follows (arXiv:2106.12423)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from ni_core.errors import BrokenBundleError
from ni_core.generators.protocol import Prior, Space


@dataclass(frozen=True)
class LayerGeometry:
    """One layer: a convolution, and a nonlinearity between an upsampling and a downsampling.

    Attributes:
        inputs: Channels that come in.
        outputs: Channels that go out.
        size: Side of what goes out, in pixels, with the margin.
        kernel: Side of the convolution's kernel.
        up: Factor of the upsampling before the nonlinearity.
        down: Factor of the downsampling after it.
        up_taps: Length of the filter of the upsampling.
        down_taps: Length of the filter of the downsampling along each axis.
        radial: Whether the filter of the downsampling has two dimensions.
        padding: Zeros before and after each axis between upsampling and filter; negative to cut.
        to_rgb: Whether it makes the image: no demodulation, no nonlinearity.
    """

    inputs: int
    outputs: int
    size: int
    kernel: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    radial: bool
    padding: tuple[int, int]
    to_rgb: bool


@dataclass(frozen=True)
class StyleGAN3Config:
    """Architecture of one StyleGAN3.

    The defaults are the paper's; -t has 3x3 kernels, -r has 1x1 kernels and radial filters.

    Attributes:
        resolution: Side of the image in pixels, a power of two.
        z_dim: Size of z.
        w_dim: Size of w.
        mapping_layers: Fully connected layers from z to w.
        channels: Feature channels of every layer before the image; the first also of the input.
        critical: So many of these last layers keep all frequencies up to the limit of sampling.
        first_cutoff: Cutoff of the first layer, in periods per image.
        first_stopband: Least frequency that the first layer removes entirely.
        last_stopband_relative: The same of the last layer, relative to its cutoff.
        margin: Pixels kept beyond each edge of the image.
        output_scale: Factor from the last layer to the image.
        kernel: Side of the kernels, but for the image's, which is 1.
        oversampling: Factor of the sampling rate around each nonlinearity.
        filter_size: Taps of a filter for each factor of its resampling.
        radial: Whether filters of the downsampling are radial where not critically sampled.
        clamp: Largest magnitude of features; None for no limit.
        num_classes: Classes of a conditional generator; 0 for none.
        embed_dim: Size of the embedded label; None for `w_dim`.
        mapping_width: Size of what is between the layers of the mapping; None for `w_dim`.
        image_channels: 3 for RGB, 1 for grey.
    """

    resolution: int
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    channels: tuple[int, ...] = ()
    critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_relative: float = 2**0.3
    margin: int = 10
    output_scale: float = 0.25
    kernel: int = 3
    oversampling: int = 2
    filter_size: int = 6
    radial: bool = False
    clamp: float | None = 256.0
    num_classes: int = 0
    embed_dim: int | None = None
    mapping_width: int | None = None
    image_channels: int = 3

    def __post_init__(self) -> None:
        if self.resolution < 16 or self.resolution & (self.resolution - 1):
            raise BrokenBundleError(
                f"resolution {self.resolution} is not a power of two from 16", value=self.resolution
            )
        if len(self.channels) <= self.critical:
            raise BrokenBundleError(
                f"{len(self.channels)} channel counts given, more than the {self.critical} "
                "critically sampled layers are needed",
                value=len(self.channels),
                limit=self.critical,
            )
        if not (0 < self.first_cutoff < self.resolution / 2 and self.first_stopband > 0):
            raise BrokenBundleError(
                f"cutoff {self.first_cutoff} and stopband {self.first_stopband} of the first layer "
                f"must be above 0, the cutoff below {self.resolution / 2}",
                value=[self.first_cutoff, self.first_stopband],
                limit=self.resolution / 2,
            )
        if self.image_channels not in (1, 3):
            raise BrokenBundleError(
                f"{self.image_channels} image channels: only 3 (RGB) and 1 (grey) can be shown",
                value=self.image_channels,
                limit=[3, 1],
            )

    @property
    def num_layers(self) -> int:
        """Rows of W+: the input, all layers, and the image."""
        return len(self.channels) + 2

    @property
    def spaces(self) -> frozenset[Space]:
        """Latent spaces of the family."""
        return frozenset({"z", "w", "w+"})

    @property
    def prior(self) -> Prior:
        """Law of z."""
        return "normal"

    @cached_property
    def cutoffs(self) -> tuple[float, ...]:
        """Cutoff frequency of every layer, in periods per image."""
        return self._geometric(self.first_cutoff, self.resolution / 2)

    @cached_property
    def rates(self) -> tuple[int, ...]:
        """Sampling rate of every layer, in pixels per image: powers of two."""
        last = self.resolution / 2 * self.last_stopband_relative
        stopbands = self._geometric(self.first_stopband, last)
        return tuple(
            2 ** math.ceil(math.log2(min(2 * band, self.resolution))) for band in stopbands
        )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Side of every layer in pixels, with the margin but for the last two."""
        with_margin = [rate + 2 * self.margin for rate in self.rates[:-2]]
        return (*with_margin, self.resolution, self.resolution)

    @cached_property
    def layers(self) -> tuple[LayerGeometry, ...]:
        """All layers, the image's last."""
        return tuple(self._layer(index) for index in range(len(self.channels) + 1))

    def _geometric(self, first: float, last: float) -> tuple[float, ...]:
        """From first to last in equal ratios, the last reached at the critical layers."""
        steps = len(self.channels) - self.critical
        return tuple(
            first * (last / first) ** min(index / steps, 1.0)
            for index in range(len(self.channels) + 1)
        )

    def _layer(self, index: int) -> LayerGeometry:
        last = len(self.channels)
        to_rgb, before = index == last, max(index - 1, 0)
        rates = self.rates[before], self.rates[index]
        inner = max(rates) * (1 if to_rgb else self.oversampling)
        up, down = inner // rates[0], inner // rates[1]
        up_taps, down_taps = (
            1 if factor == 1 or to_rgb else self.filter_size * factor for factor in (up, down)
        )
        kernel = 1 if to_rgb else self.kernel
        wanted = (self.sizes[index] - 1) * down + 1 + up_taps + down_taps - 2
        padding = wanted - (self.sizes[before] + kernel - 1) * up
        first = (padding + up) // 2
        return LayerGeometry(
            inputs=self.channels[before],
            outputs=self.image_channels if to_rgb else self.channels[index],
            size=self.sizes[index],
            kernel=kernel,
            up=up,
            down=down,
            up_taps=up_taps,
            down_taps=down_taps,
            radial=self.radial and down_taps > 1 and index < last - self.critical,
            padding=(first, padding - first),
            to_rgb=to_rgb,
        )

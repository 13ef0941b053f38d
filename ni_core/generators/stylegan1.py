"""StyleGAN (arXiv:1812.04948), the first version, in all the layouts its ports have.

Weights are stored as they act. Upsampling and the convolution after it are one transposed
convolution (see `progressive.convolve`), and the "+ 1" of the style's scale is in its bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.errors import BrokenBundleError
from ni_core.generators.base import GeneratorNetwork
from ni_core.generators.mapping import MappingNetwork
from ni_core.generators.modulated import SLOPE, linear
from ni_core.generators.progressive import (
    PlainRGB,
    blend_previous,
    check_growth,
    convolve,
    he_weight,
)
from ni_core.generators.protocol import Noise, Prior, Space, broadcast_rows
from ni_core.layers import check_layers


@dataclass(frozen=True)
class StyleGAN1Config:
    """Architecture of one StyleGAN.

    Attributes:
        resolution: Side of the image in pixels, a power of two from 4.
        z_dim: Size of z.
        w_dim: Size of w.
        mapping_layers: Fully connected layers from z to w.
        mapping_width: Size of what is between them; None for `w_dim`.
        channels: Feature channels at 4, 8, ..., `resolution` pixels.
        block_rows: Rows of W+ per resolution: 2, one for each convolution, or 1 that both share;
            noise maps go with the rows.
        row_mapping: Whether the mapping makes a w for every row; then there is no space w.
        epsilon: What instance normalisation adds to the variance.
        bias_before_blur: Whether upsampling layers add their bias before the blur.
        tanh: Whether a tanh bounds the RGB output.
        previous_rgb: Share of the previous resolution in the RGB output, below 1; 0 once grown.
    """

    resolution: int
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    mapping_width: int | None = None
    channels: tuple[int, ...] = ()
    block_rows: int = 2
    row_mapping: bool = False
    epsilon: float = 1e-8
    bias_before_blur: bool = False
    tanh: bool = False
    previous_rgb: float = 0.0

    def __post_init__(self) -> None:
        check_growth(self.resolution, self.channels, self.previous_rgb)
        if self.block_rows not in (1, 2):
            raise BrokenBundleError(
                f"{self.block_rows} rows of W+ per resolution: there can be 1 or 2",
                value=self.block_rows,
                limit=2,
            )

    @property
    def num_layers(self) -> int:
        """Rows of W+."""
        return self.block_rows * len(self.channels)

    @property
    def spaces(self) -> frozenset[Space]:
        """Latent spaces of this layout."""
        return frozenset({"z", "w+"} if self.row_mapping else {"z", "w", "w+"})

    @property
    def num_classes(self) -> int:
        """Not conditional."""
        return 0

    @property
    def prior(self) -> Prior:
        """Law of z."""
        return "normal"


class StyledLayer(nn.Module):
    """Convolution, noise, bias, leaky ReLU, instance normalisation and style.

    The first layer of a generator has no convolution; layers that upsample blur.
    """

    def __init__(
        self, inputs: int, outputs: int, config: StyleGAN1Config, *, up: bool, first: bool = False
    ) -> None:
        super().__init__()
        self.up = up
        self.epsilon = config.epsilon
        self.early_bias = config.bias_before_blur or not up
        shape = (inputs, outputs, 4, 4) if up else (outputs, inputs, 3, 3)
        self.weight = None if first else he_weight(*shape, inputs=inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(outputs))
        self.affine = linear(config.w_dim, 2 * outputs, gain=1 / math.sqrt(config.w_dim))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Turn x `[n, inputs, h, w]` into features; noise is `[n or 1, 1, h', w']`."""
        bias: Tensor | None = self.bias
        if self.weight is not None:
            x = convolve(x, self.weight, bias if self.early_bias else None)
            x = _blur(x) if self.up else x
            bias = None if self.early_bias else bias
        if noise is not None:
            x = torch.addcmul(x, noise, self.noise_strength[:, None, None])
        if bias is not None:
            x = x + bias[:, None, None]
        return self._stylize(F.leaky_relu(x, SLOPE), w)

    def _stylize(self, x: Tensor, w: Tensor) -> Tensor:
        # Sums over channels-last maps are fast as mean(), not as var() or norm().
        scale, shift = self.affine(w)[:, :, None, None].chunk(2, dim=1)
        x = x - x.mean(dim=(2, 3), keepdim=True)
        variance = x.square().mean(dim=(2, 3), keepdim=True)
        return torch.addcmul(shift, x, scale * torch.rsqrt(variance + self.epsilon))


class StyleGAN1(GeneratorNetwork):
    """StyleGAN behind the `Generator` protocol.

    Attributes:
        fingerprint: Names these weights; set by whoever loads them.
    """

    family = "stylegan1"
    normalises_z = True
    w_avg: Tensor

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__(config)
        self.config = config
        self.mapping = MappingNetwork(
            config.z_dim,
            config.w_dim * (config.num_layers if config.row_mapping else 1),
            config.mapping_layers,
            width=config.w_dim if config.mapping_width is None else config.mapping_width,
        )
        self.constant = nn.Parameter(torch.ones(1, config.channels[0], 4, 4))
        self.layers = nn.ModuleList(_make_layers(config))
        self.to_rgb = PlainRGB(config.channels[-1])
        self.to_previous_rgb = PlainRGB(config.channels[-2]) if config.previous_rgb else None
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        sides = [4 << row // config.block_rows for row in range(config.num_layers)]
        self.noise_shapes = tuple((side, side) for side in sides)
        for row, shape in enumerate(self.noise_shapes):
            self.register_buffer(f"noise_{row}", torch.randn(shape))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.constant.device

    def freeze(self) -> Self:
        """Make the generator a fixed function: evaluation mode, no gradients to its weights."""
        return self.eval().requires_grad_(False)

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map z `[n, z_dim]` to w `[n, w_dim]`, or to rows `[n, num_layers, w_dim]`.

        Rows where the mapping makes them (`row_mapping`); labels are ignored.
        """
        w: Tensor = self.mapping(z)
        return w.unflatten(1, (self.num_layers, self.w_dim)) if self.config.row_mapping else w

    def broadcast(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Bring w to `[n, num_layers, w_dim]`; see `broadcast_rows`."""
        return broadcast_rows(w, self.w_avg, self.num_layers, psi, cutoff)

    def synthesize(self, w_plus: Tensor, noise: Noise = "const") -> Tensor:
        """Render.

        Args:
            w_plus: `[n, num_layers, w_dim]`.
            noise: `"const"` uses the stored maps, `"random"` fresh ones, `"none"` no noise; or one
                map `[n or 1, 1, side, side]` for each of `noise_shapes`.

        Returns:
            RGB `[n, 3, resolution, resolution]`, about [-1, 1], float32, not clamped.
        """
        maps = self._noise_maps(noise, w_plus.shape[0])
        x = self.constant.expand(w_plus.shape[0], -1, -1, -1)
        x = previous = x.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(cast("list[StyledLayer]", list(self.layers))):
            previous = x if layer.up else previous
            row = index * self.config.block_rows // 2
            x = layer(x, w_plus[:, row], maps[row])
        rgb: Tensor = self.to_rgb(x)
        if self.to_previous_rgb is not None:
            rgb = blend_previous(rgb, self.to_previous_rgb(previous), self.config.previous_rgb)
        return rgb.tanh() if self.config.tanh else rgb

    def style_weights(self, layers: Sequence[int]) -> Tensor:
        """Affine weights of the convolutions that read these W+ rows, for scale and shift.

        Args:
            layers: Rows of W+.

        Returns:
            `[w_dim, channels]`, the channels of all rows joined.

        Raises:
            InvalidLayersError: A row does not exist.
        """
        rows = check_layers(tuple(layers), self.num_layers)
        share = 2 // self.config.block_rows
        readers = [index for row in rows for index in range(row * share, (row + 1) * share)]
        every = cast("list[StyledLayer]", list(self.layers))
        return torch.cat([every[index].affine.weight.detach() for index in readers]).T

    def _noise_maps(self, noise: Noise, n: int) -> Sequence[Tensor | None]:
        if noise == "none":
            return [None] * self.num_layers
        if noise == "const":
            return [self.get_buffer(f"noise_{row}")[None, None] for row in range(self.num_layers)]
        if noise == "random":
            return [torch.randn(n, 1, *shape, device=self.device) for shape in self.noise_shapes]
        return [*noise]


def _make_layers(config: StyleGAN1Config) -> list[StyledLayer]:
    channels = config.channels
    layers: list[StyledLayer] = []
    for block, width in enumerate(channels):
        inputs = channels[max(block - 1, 0)]
        layers.append(StyledLayer(inputs, width, config, up=block > 0, first=block == 0))
        layers.append(StyledLayer(width, width, config, up=False))
    return layers


def _blur(x: Tensor) -> Tensor:
    """The [1, 2, 1] filter on both axes, zeros beyond the border."""
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4
    channels = x.shape[1]
    kernel = torch.outer(taps, taps).expand(channels, 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=channels)

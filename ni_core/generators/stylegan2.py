"""StyleGAN2 (arXiv:1912.04958) in plain PyTorch: no compiled operations, any device.

Weights are stored as they act: the equalised learning rate of the paper is folded in, so nothing
is rescaled at run time. Training gets the same dynamics from per-parameter learning rates
(`StyleGAN2.parameter_gains`): an Adam step on w = gain * raw equals a step with lr * gain on w.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.errors import BrokenBundleError
from ni_core.generators.modulated import (
    SLOPE,
    SQRT2,
    ModulatedConv,
    SynthesisLayer,
    ToRGB,
    linear,
    upsample,
)
from ni_core.generators.protocol import Noise, Space
from ni_core.layers import check_layers

_MAPPING_GAIN = 0.01
"""Learning-rate multiplier of the mapping network, as in the paper."""

_HALF_RESOLUTIONS = 4
"""On a GPU so many of the highest resolutions run in half precision."""


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
    """

    resolution: int
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channels: tuple[int, ...] = ()
    noise: bool = True

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

    @property
    def num_layers(self) -> int:
        """Rows of W+: 2 log2(resolution) - 2."""
        return 2 * len(self.channels)


class MappingNetwork(nn.Module):
    """z to w: normalise to unit second moment, then fully connected layers."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        widths = [config.z_dim] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(
            linear(inputs, outputs, gain=1 / math.sqrt(inputs))
            for inputs, outputs in pairwise(widths)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map z `[n, z_dim]` to w `[n, w_dim]`."""
        x: Tensor = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE) * SQRT2
        return x


class StyleGAN2(nn.Module):
    """StyleGAN2 with skip connections to RGB, behind the `Generator` protocol.

    Attributes:
        fingerprint: Names these weights; set by whoever loads them.
    """

    family = "stylegan2"
    spaces: frozenset[Space] = frozenset({"z", "w", "w+"})
    w_avg: Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.fingerprint = ""
        self.resolution = config.resolution
        self.z_dim = config.z_dim
        self.w_dim = config.w_dim
        self.num_layers = config.num_layers
        self.mapping = MappingNetwork(config)
        self.constant = nn.Parameter(torch.randn(1, config.channels[0], 4, 4))
        self.layers = nn.ModuleList(self._make_layers(config))
        self.to_rgbs = nn.ModuleList(ToRGB(width, config.w_dim) for width in config.channels)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        sides = [4 << (index + 1) // 2 for index in range(len(self.layers))]
        self.noise_shapes = tuple((side, side) for side in sides) if config.noise else ()

    @staticmethod
    def _make_layers(config: StyleGAN2Config) -> list[SynthesisLayer]:
        def layer(inputs: int, outputs: int, block: int, *, up: bool) -> SynthesisLayer:
            return SynthesisLayer(
                inputs, outputs, config.w_dim, up=up, resolution=4 << block, noise=config.noise
            )

        layers = [layer(config.channels[0], config.channels[0], 0, up=False)]
        for block in range(1, len(config.channels)):
            inputs, outputs = config.channels[block - 1], config.channels[block]
            layers.append(layer(inputs, outputs, block, up=True))
            layers.append(layer(outputs, outputs, block, up=False))
        return layers

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.constant.device

    def freeze(self) -> StyleGAN2:
        """Make the generator a fixed function: evaluation mode, no gradients to its weights."""
        self.eval().requires_grad_(False)
        for module in self.modules():
            if isinstance(module, ModulatedConv):
                module.freeze()
        return self

    def map(self, z: Tensor) -> Tensor:
        """Map z `[n, z_dim]` to w `[n, w_dim]`, without truncation."""
        w: Tensor = self.mapping(z)
        return w

    def broadcast(self, w: Tensor, psi: float = 1.0) -> Tensor:
        """Repeat w `[n, w_dim]` over all rows, truncated towards `w_avg`.

        Args:
            w: `[n, w_dim]`.
            psi: 1 leaves w as it is, 0 gives `w_avg`.

        Returns:
            `[n, num_layers, w_dim]`.
        """
        truncated = w if psi == 1.0 else self.w_avg.lerp(w, psi)
        return truncated[:, None, :].expand(-1, self.num_layers, -1)

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
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.layers[0](x, w_plus[:, 0], maps[0])
        rgb: Tensor = self.to_rgbs[0](x, w_plus[:, 1])
        for block in range(1, len(self.to_rgbs)):
            first = 2 * block - 1
            x = x.to(self._dtype(block))
            x = self.layers[first](x, w_plus[:, first], maps[first])
            x = self.layers[first + 1](x, w_plus[:, first + 1], maps[first + 1])
            rgb = upsample(rgb) + self.to_rgbs[block](x, w_plus[:, first + 2])
        return rgb

    def style_weights(self, layers: Sequence[int]) -> Tensor:
        """Affine weights of the convolutions that read these W+ rows.

        A row shared by a convolution and an RGB output counts the convolution; the last row is
        read by the last RGB output alone.

        Args:
            layers: Rows of W+.

        Returns:
            `[w_dim, channels]`, the channels of all rows joined.

        Raises:
            InvalidLayersError: A row does not exist.
        """
        rows = check_layers(tuple(layers), self.num_layers)
        readers = cast("list[SynthesisLayer | ToRGB]", [*self.layers, self.to_rgbs[-1]])
        return torch.cat([readers[row].conv.affine.weight.detach() for row in rows]).T

    def parameter_gains(self) -> dict[str, float]:
        """Learning-rate factor of every parameter: the equalised learning rate of the paper."""
        gains = dict.fromkeys(dict(self.named_parameters()), 1.0)
        for name, module in self.named_modules():
            if isinstance(module, ModulatedConv):
                gains[f"{name}.weight"] = module.gain
                gains[f"{name}.affine.weight"] = 1 / math.sqrt(module.affine.in_features)
            elif isinstance(module, nn.Linear) and name.startswith("mapping."):
                gains[f"{name}.weight"] = _MAPPING_GAIN / math.sqrt(module.in_features)
                gains[f"{name}.bias"] = _MAPPING_GAIN
        return gains

    def _dtype(self, block: int) -> torch.dtype:
        # Gradients would need loss scaling in half precision, so only rendering uses it.
        halves = self.constant.device.type == "cuda" and not torch.is_grad_enabled()
        high = block >= len(self.to_rgbs) - _HALF_RESOLUTIONS
        return torch.float16 if halves and high else self.constant.dtype

    def _noise_maps(self, noise: Noise, n: int) -> list[Tensor | None]:
        if noise == "none" or not self.noise_shapes:
            return [None] * len(self.layers)
        if noise == "const":
            layers = cast("list[SynthesisLayer]", list(self.layers))
            return [layer.noise[None, None] for layer in layers]
        if noise == "random":
            return [torch.randn(n, 1, *shape, device=self.device) for shape in self.noise_shapes]
        return [*noise]

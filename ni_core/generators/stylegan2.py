"""StyleGAN2 (arXiv:1912.04958) in plain PyTorch: no compiled operations, any device.

Weights are stored as they act: the equalised learning rate of the paper is folded in, so nothing
is rescaled at run time. Training gets the same dynamics from per-parameter learning rates
(`StyleGAN2.parameter_gains`): an Adam step on w = gain * raw equals a step with lr * gain on w.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.generators.base import GeneratorNetwork
from ni_core.generators.mapping import MappingNetwork
from ni_core.generators.modulated import ModulatedConv, SynthesisLayer, ToRGB
from ni_core.generators.protocol import Noise, broadcast_rows
from ni_core.generators.resampling import upsample
from ni_core.generators.stylegan2_config import StyleGAN2Config
from ni_core.layers import check_layers

__all__ = ["StyleGAN2", "StyleGAN2Config"]

_MAPPING_GAIN = 0.01
"""Learning-rate multiplier of the mapping network, as in the paper."""

_HALF_RESOLUTIONS = 4
"""On a GPU so many of the highest resolutions run in half precision."""


class StyleGAN2(GeneratorNetwork):
    """StyleGAN2 behind the `Generator` protocol.

    `to_rgbs` has one layer for each block of the architecture `"skip"`, else one for the last
    block; `skips` has the 1x1 convolutions past the blocks from 8 px of `"residual"`, without
    the gain sqrt(1/2) of both branches, which the network applies.

    Attributes:
        fingerprint: Names these weights; set by whoever loads them.
    """

    family = "stylegan2"
    normalises_z = True
    w_avg: Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config)
        self.config = config
        self.mapping = MappingNetwork(
            config.z_dim,
            config.w_dim,
            config.mapping_layers,
            width=config.mapping_width,
            num_classes=config.num_classes,
            embed_dim=config.embed_dim,
        )
        self.constant = nn.Parameter(torch.randn(1, config.channels[0], 4, 4))
        self.layers = nn.ModuleList(_make_layers(config))
        self.to_rgbs = nn.ModuleList(_make_to_rgbs(config))
        if config.architecture == "residual":
            self.skips = nn.ModuleList(_make_skips(config))
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        sides = [4 << (index + 1) // 2 for index in range(len(self.layers))]
        self.noise_shapes = tuple((side, side) for side in sides) if config.noise else ()

    @property
    def _blocks(self) -> int:
        return len(self.config.channels)

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

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map z `[n, z_dim]` to w `[n, w_dim]`, without truncation.

        Args:
            z: N(0, I); its length is of no consequence.
            labels: Class indexes `[n]` or rows `[n, num_classes]`; None is class 0. Ignored by a
                generator without classes.

        Raises:
            InvalidLatentError: A label does not exist, or the shape of the labels is wrong.
        """
        w: Tensor = self.mapping(z, labels)
        return w

    def broadcast(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Bring w `[n, w_dim]` to `[n, num_layers, w_dim]`; see `broadcast_rows`."""
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
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.layers[0](x, w_plus[:, 0], maps[0])
        skip = self.config.architecture == "skip"
        rgb: Tensor = self.to_rgbs[0](x, w_plus[:, 1]) if skip else x
        for block in range(1, self._blocks):
            x = self._block(block, x.to(self._dtype(block)), w_plus, maps)
            if skip:
                low = upsample(rgb, self.config.filter)
                rgb = low + self.to_rgbs[block](x, w_plus[:, 2 * block + 1])
        if not skip:
            rgb = self.to_rgbs[0](x, w_plus[:, -1])
        return rgb.expand(-1, 3, -1, -1)

    def _block(
        self, block: int, x: Tensor, w_plus: Tensor, maps: Sequence[Tensor | None]
    ) -> Tensor:
        first, second = 2 * block - 1, 2 * block
        y: Tensor = self.layers[first](x, w_plus[:, first], maps[first])
        y = self.layers[second](y, w_plus[:, second], maps[second])
        if self.config.architecture != "residual":
            return y
        weight = cast(nn.Conv2d, self.skips[block - 1]).weight.to(x.dtype)
        return y + upsample(F.conv2d(x, weight * math.sqrt(0.5)), self.config.filter)

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
            elif isinstance(module, nn.Conv2d):
                gains[f"{name}.weight"] = 1 / math.sqrt(module.in_channels)
            elif isinstance(module, nn.Linear) and name == "mapping.embed":
                gains[f"{name}.weight"] = 1 / math.sqrt(module.in_features)
            elif isinstance(module, nn.Linear) and name.startswith("mapping."):
                gains[f"{name}.weight"] = _MAPPING_GAIN / math.sqrt(module.in_features)
                gains[f"{name}.bias"] = _MAPPING_GAIN
        return gains

    def _dtype(self, block: int) -> torch.dtype:
        # Gradients would need loss scaling in half precision, so only rendering uses it.
        halves = self.constant.device.type == "cuda" and not torch.is_grad_enabled()
        high = block >= self._blocks - _HALF_RESOLUTIONS
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


def _make_layers(config: StyleGAN2Config) -> list[SynthesisLayer]:
    def layer(inputs: int, outputs: int, block: int, *, up: bool) -> SynthesisLayer:
        ends_block = config.architecture == "residual" and block > 0 and not up
        return SynthesisLayer(
            inputs,
            outputs,
            config.w_dim,
            up=up,
            resolution=4 << block,
            noise=config.noise,
            taps=config.filter,
            clamp=config.clamp,
            gain=math.sqrt(0.5) if ends_block else 1.0,
        )

    layers = [layer(config.channels[0], config.channels[0], 0, up=False)]
    for block, (inputs, outputs) in enumerate(pairwise(config.channels), start=1):
        layers.append(layer(inputs, outputs, block, up=True))
        layers.append(layer(outputs, outputs, block, up=False))
    return layers


def _make_to_rgbs(config: StyleGAN2Config) -> list[ToRGB]:
    widths = config.channels if config.architecture == "skip" else config.channels[-1:]
    return [
        ToRGB(width, config.w_dim, outputs=config.image_channels, clamp=config.clamp)
        for width in widths
    ]


def _make_skips(config: StyleGAN2Config) -> list[nn.Conv2d]:
    skips = [
        nn.Conv2d(inputs, outputs, 1, bias=False) for inputs, outputs in pairwise(config.channels)
    ]
    for skip in skips:
        nn.init.normal_(skip.weight, std=1 / math.sqrt(skip.in_channels))
    return skips

"""StyleGAN3, -t and -r (arXiv:2106.12423), in plain PyTorch: no compiled operations, any device.

Weights are stored as they act: equalised learning rates and the normalisation of the weights are
folded in. There is no noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ni_core.generators.alias_free import AliasFreeLayer, FourierInput
from ni_core.generators.base import GeneratorNetwork
from ni_core.generators.mapping import MappingNetwork
from ni_core.generators.protocol import Noise, broadcast_rows
from ni_core.generators.stylegan3_config import StyleGAN3Config
from ni_core.layers import check_layers

__all__ = ["StyleGAN3", "StyleGAN3Config"]


class StyleGAN3(GeneratorNetwork):
    """StyleGAN3 behind the `Generator` protocol.

    `input.transform` moves and turns the picture: it is the inverse of the wanted transform of
    coordinates whose origin is the middle and whose unit is the side of the image.

    Attributes:
        fingerprint: Names these weights; set by whoever loads them.
    """

    family = "stylegan3"
    normalises_z = True
    w_avg: Tensor

    def __init__(self, config: StyleGAN3Config) -> None:
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
        self.input = FourierInput(
            config.channels[0],
            config.w_dim,
            size=config.sizes[0],
            rate=config.rates[0],
            bandwidth=config.cutoffs[0],
        )
        self.layers = nn.ModuleList(
            AliasFreeLayer(geometry, config.w_dim, config.clamp) for geometry in config.layers
        )
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.w_avg.device

    def freeze(self) -> StyleGAN3:
        """Make the generator a fixed function: evaluation mode, no gradients to its weights."""
        self.eval().requires_grad_(False)
        for layer in self.layers:
            cast(AliasFreeLayer, layer).freeze()
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
            w_plus: `[n, num_layers, w_dim]`; row 0 is read by the input, the last by the image.
            noise: Of no effect: the family has none.

        Returns:
            RGB `[n, 3, resolution, resolution]`, about [-1, 1], float32, not clamped.
        """
        x: Tensor = self.input(w_plus[:, 0])
        for row, layer in enumerate(self.layers, start=1):
            x = layer(x, w_plus[:, row])
        return (x * self.config.output_scale).contiguous().expand(-1, 3, -1, -1)

    def style_weights(self, layers: Sequence[int]) -> Tensor:
        """Affine weights of what reads these W+ rows; those of row 0 move and turn the input.

        Args:
            layers: Rows of W+.

        Returns:
            `[w_dim, channels]`, the channels of all rows joined.

        Raises:
            InvalidLayersError: A row does not exist.
        """
        rows = check_layers(tuple(layers), self.num_layers)
        readers = cast("list[FourierInput | AliasFreeLayer]", [self.input, *self.layers])
        return torch.cat([readers[row].affine.weight.detach() for row in rows]).T

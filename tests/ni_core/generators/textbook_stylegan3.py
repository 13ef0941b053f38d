"""StyleGAN3 as the paper writes it down: weights scaled per sample, explicit zeros and filters.

Nothing here is shared with our network but the names of its tensors and its geometry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ni_core.generators.stylegan3_config import LayerGeometry, StyleGAN3Config


def textbook_synthesis(
    config: StyleGAN3Config, tensors: Mapping[str, Tensor], w_plus: Tensor
) -> Tensor:
    x = textbook_input(config, tensors, w_plus[:, 0])
    for index, layer in enumerate(config.layers):
        part = {
            key.removeprefix(f"layers.{index}."): tensor
            for key, tensor in tensors.items()
            if key.startswith(f"layers.{index}.")
        }
        x = textbook_layer(layer, part, x, w_plus[:, index + 1], config.clamp)
    x = x * config.output_scale
    return x if x.shape[1] == 3 else x.repeat(1, 3, 1, 1)


def textbook_input(config: StyleGAN3Config, tensors: Mapping[str, Tensor], w: Tensor) -> Tensor:
    size, rate = config.sizes[0], config.rates[0]
    images = []
    for sample in w:
        t = tensors["input.affine.weight"] @ sample + tensors["input.affine.bias"]
        cos, sin, x, y = (t / torch.sqrt(t[0] ** 2 + t[1] ** 2)).tolist()
        rotation = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        translation = torch.tensor([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
        matrix = rotation @ translation @ tensors["input.transform"]
        freqs = tensors["input.freqs"] @ matrix[:2, :2]
        phases = tensors["input.phases"] + tensors["input.freqs"] @ matrix[:2, 2]
        fade = (freqs.norm(dim=1) - config.cutoffs[0]) / (rate / 2 - config.cutoffs[0])
        scale = size / rate / 2
        theta = torch.tensor([[[scale, 0, 0], [0, scale, 0]]])
        points = F.affine_grid(theta, [1, 1, size, size], align_corners=False)[0]
        waves = torch.sin(2 * math.pi * (points @ freqs.T + phases)) * (1 - fade).clamp(0, 1)
        images.append((waves @ tensors["input.weight"].T).permute(2, 0, 1))
    return torch.stack(images)


def textbook_layer(
    layer: LayerGeometry,
    tensors: Mapping[str, Tensor],
    x: Tensor,
    w: Tensor,
    clamp: float | None,
) -> Tensor:
    n = len(x)
    style = w @ tensors["affine.weight"].T + tensors["affine.bias"]
    if not layer.to_rgb:
        style = style / style.square().mean().sqrt()
    weight = tensors["weight"] * style[:, None, :, None, None]
    if not layer.to_rgb:
        weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    weight = (weight * tensors["input_gain"]).flatten(0, 1)
    x = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weight, padding=layer.kernel - 1, groups=n)
    x = x.reshape(n, layer.outputs, *x.shape[2:]) + tensors["bias"][:, None, None]
    x = spread(x, layer.up)
    before, after = layer.padding
    x = F.pad(x, (before, after, before, after))
    x = filtered(x, tensors.get("up_filter")) * layer.up**2
    if not layer.to_rgb:
        x = torch.where(x < 0, 0.2 * x, x) * math.sqrt(2)
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return filtered(x, tensors.get("down_filter"))[:, :, :: layer.down, :: layer.down]


def spread(x: Tensor, factor: int) -> Tensor:
    """Put zeros after every pixel of both axes."""
    n, channels, height, width = x.shape
    y = x.new_zeros(n, channels, height, factor, width, factor)
    y[:, :, :, 0, :, 0] = x
    return y.reshape(n, channels, height * factor, width * factor)


def filtered(x: Tensor, taps: Tensor | None) -> Tensor:
    """Convolve in the strict sense, with a filter turned half around."""
    if taps is None:
        return x
    plane = torch.outer(taps, taps) if taps.dim() == 1 else taps
    n, channels, height, width = x.shape
    y = F.conv2d(x.reshape(n * channels, 1, height, width), plane.flip(0, 1)[None, None])
    return y.reshape(n, channels, *y.shape[2:])

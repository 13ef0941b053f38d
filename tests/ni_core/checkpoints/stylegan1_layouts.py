"""The layouts that ports of the first StyleGAN have: small random files, and a textbook of each.

The textbook works in double precision on a file's own tensors and shares nothing with our network
or readers: it upsamples, convolves, blurs and normalises step by step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ROOT2 = math.sqrt(2)


@dataclass(frozen=True)
class LayerKeys:
    """Names of a layer's tensors; an empty one is not in the file."""

    weight: str
    bias: str
    style: tuple[str, str]
    strength: str
    noise: str = ""
    blurs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Names and habits of one port; `{}` is an index."""

    name: str
    layer: Callable[[int], LayerKeys]
    dense: tuple[str, str]
    constant: str
    rgb: tuple[str, str]
    mean: str = ""
    rate: float = 0.01
    rows: int = 2
    style_gain: float = 1.0
    one_added: float = 1.0
    epsilon: float = 1e-8
    bias_before_blur: bool = False
    tanh: bool = False
    fused_axes: str = "oihw"
    fused_gain: float = 1.0


def side_of(index: int) -> int:
    return 4 << index // 2


def is_fused(index: int) -> bool:
    return index % 2 == 0 and side_of(index) >= 128


def genforce_keys(index: int) -> LayerKeys:
    key = f"synthesis.layer{index}"
    return LayerKeys(
        weight=f"{key}.weight",
        bias=f"{key}.bias",
        style=(f"{key}.style.weight", f"{key}.style.bias"),
        strength=f"{key}.apply_noise.weight",
        noise=f"{key}.apply_noise.noise",
        blurs=(f"{key}.blur.kernel",),
    )


def idinvert_keys(index: int) -> LayerKeys:
    key = f"synthesis.layer{index}"
    style = f"{key}.epilogue.style_mod.dense"
    return LayerKeys(
        weight=f"{key}.weight" if is_fused(index) else f"{key}.conv.weight",
        bias=f"{key}.epilogue.bias",
        style=(f"{style}.fc.weight", f"{style}.wscale.bias"),
        strength=f"{key}.epilogue.apply_noise.weight",
        noise=f"{key}.epilogue.apply_noise.noise",
        blurs=(f"{key}.blur.kernel",),
    )


def lernapparat_keys(index: int) -> LayerKeys:
    block = f"g_synthesis.blocks.{side_of(index)}x{side_of(index)}"
    epilogue = f"{block}.epi{index % 2 + 1}"
    part = "conv0_up" if index % 2 == 0 else "conv" if index == 1 else "conv1"
    return LayerKeys(
        weight=f"{block}.{part}.weight",
        bias=f"{block}.{part}.bias" if index else f"{block}.bias",
        style=(f"{epilogue}.style_mod.lin.weight", f"{epilogue}.style_mod.lin.bias"),
        strength=f"{epilogue}.top_epi.noise.weight",
        blurs=(f"{block}.conv0_up.intermediate.kernel",),
    )


def rosinality_keys(index: int) -> LayerKeys:
    block, part = f"generator.progression.{index // 2}", index % 2 + 1
    style = f"{block}.adain{part}.style.linear"
    blur = f"{block}.conv1.{1 if is_fused(index) else 2}.weight"
    if part == 2:
        weight, bias = f"{block}.conv2.conv.weight_orig", f"{block}.conv2.conv.bias"
    elif is_fused(index):
        weight, bias = f"{block}.conv1.0.weight", f"{block}.conv1.0.bias"
    else:
        weight, bias = f"{block}.conv1.1.conv.weight_orig", f"{block}.conv1.1.conv.bias"
    return LayerKeys(
        weight=weight,
        bias=bias if index else "",
        style=(f"{style}.weight_orig", f"{style}.bias"),
        strength=f"{block}.noise{part}.weight_orig",
        blurs=(blur, f"{blur}_flip"),
    )


GENFORCE = Layout(
    name="genforce",
    layer=genforce_keys,
    dense=("mapping.dense{}.weight", "mapping.dense{}.bias"),
    constant="synthesis.layer0.const",
    rgb=("synthesis.output{}.weight", "synthesis.output{}.bias"),
    mean="truncation.w_avg",
)
IDINVERT = Layout(
    name="idinvert",
    layer=idinvert_keys,
    dense=("mapping.dense{}.fc.weight", "mapping.dense{}.wscale.bias"),
    constant="synthesis.layer0.const",
    rgb=("synthesis.output{}.conv.weight", "synthesis.output{}.bias"),
    mean="truncation.w_avg",
    tanh=True,
    fused_axes="hwio",
)
LERNAPPARAT = Layout(
    name="lernapparat",
    layer=lernapparat_keys,
    dense=("g_mapping.dense{}.weight", "g_mapping.dense{}.bias"),
    constant="g_synthesis.blocks.4x4.const",
    rgb=("g_synthesis.torgb.weight", "g_synthesis.torgb.bias"),
    mean="truncation.avg_latent",
    epsilon=1e-5,
)
ROSINALITY = Layout(
    name="rosinality",
    layer=rosinality_keys,
    dense=("style.{}.linear.weight_orig", "style.{}.linear.bias"),
    constant="generator.progression.0.conv1.input",
    rgb=("generator.to_rgb.{}.conv.weight_orig", "generator.to_rgb.{}.conv.bias"),
    rate=1.0,
    rows=1,
    style_gain=ROOT2,
    one_added=0.0,
    epsilon=1e-5,
    bias_before_blur=True,
    fused_axes="iohw",
    fused_gain=0.25,
)
LAYOUTS = (GENFORCE, IDINVERT, LERNAPPARAT, ROSINALITY)


def blur_kernel(channels: int) -> Tensor:
    """The filter as files hold it."""
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    return torch.outer(taps, taps).expand(channels, 1, 3, 3).contiguous()


def dense_index(layout: Layout, index: int) -> int:
    """Index of a layer of the mapping network in the file."""
    return 2 * index + 1 if layout is ROSINALITY else index


def random_file(
    layout: Layout, channels: Sequence[int], *, z_dim: int = 6, w_dim: int = 5, depth: int = 3
) -> dict[str, Tensor]:
    """Random tensors of a generator in this layout."""
    source = torch.Generator().manual_seed(len(channels))

    def random(*shape: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
        return mean + scale * torch.randn(*shape, generator=source)

    z_dim = w_dim if layout is ROSINALITY else z_dim
    rows = layout.rows * len(channels) if layout is IDINVERT else 1
    widths = [z_dim] + [w_dim if layout is ROSINALITY else 7] * (depth - 1) + [w_dim * rows]
    tensors = {layout.constant: random(1, channels[0], 4, 4)}
    for index in range(depth):
        weight, bias = (key.format(dense_index(layout, index)) for key in layout.dense)
        tensors[weight] = random(widths[index + 1], widths[index], scale=1 / layout.rate)
        tensors[bias] = random(widths[index + 1], scale=0.2 / layout.rate)
    if layout.mean:
        tensors[layout.mean] = random(w_dim, scale=0.3)
    for index in range(2 * len(channels)):
        keys, outputs = layout.layer(index), channels[index // 2]
        inputs = channels[(index - 1) // 2] if index else outputs
        if keys.bias:
            tensors[keys.bias] = random(outputs, scale=0.3)
        if index:
            sizes = {"o": outputs, "i": inputs, "h": 3, "w": 3}
            axes = layout.fused_axes if is_fused(index) else "oihw"
            tensors[keys.weight] = random(*(sizes[axis] for axis in axes))
        tensors[keys.style[0]] = random(2 * outputs, w_dim)
        tensors[keys.style[1]] = random(2 * outputs, scale=0.2, mean=1 - layout.one_added)
        shape = (1, outputs, 1, 1) if layout is ROSINALITY else (outputs,)
        tensors[keys.strength] = random(*shape, scale=0.3)
        if keys.noise:
            tensors[keys.noise] = random(1, 1, side_of(index), side_of(index))
        if index and index % 2 == 0:
            kernel = blur_kernel(1 if layout is LERNAPPARAT else outputs)
            tensors |= {key: kernel for key in keys.blurs}
    last = len(channels) - 1
    for block in [last] if layout is LERNAPPARAT else range(last + 1):
        tensors[layout.rgb[0].format(block)] = random(3, channels[block], 1, 1, scale=0.5)
        tensors[layout.rgb[1].format(block)] = random(3, scale=0.2)
    if layout is GENFORCE or layout is IDINVERT:
        tensors["synthesis.lod"] = torch.zeros(())
    if layout is IDINVERT:
        psi = torch.tensor([0.7] * 8 + [1.0] * (2 * len(channels) - 8))
        tensors["truncation.truncation"] = psi[None, :, None]
    return tensors


class Textbook:
    """A file's generator, step by step."""

    def __init__(self, layout: Layout, tensors: Mapping[str, Tensor]) -> None:
        self.layout = layout
        self.tensors = {key: tensor.double() for key, tensor in tensors.items()}

    def map(self, z: Tensor, depth: int = 3) -> Tensor:
        x = z.double() / (z.double().square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
        for index in range(depth):
            weight, bias = (
                self.tensors[key.format(dense_index(self.layout, index))]
                for key in self.layout.dense
            )
            gain = self.layout.rate * math.sqrt(2 / weight.shape[1])
            x = F.leaky_relu(x @ (weight * gain).T + bias * self.layout.rate, 0.2)
        return x

    def synthesize(
        self, w_plus: Tensor, maps: Sequence[Tensor], blocks: int, share: float = 0.0
    ) -> Tensor:
        """Render with so many resolutions and a share of the last but one's RGB."""
        x = self.tensors[self.layout.constant].expand(len(w_plus), -1, -1, -1)
        rgbs: list[Tensor] = []
        for index in range(2 * blocks):
            row = index // 2 if self.layout.rows == 1 else index
            x = self._layer(index, x, w_plus[:, row].double(), maps[row].double())
            if index % 2 and (index // 2 >= blocks - (2 if share else 1)):
                rgbs.append(self._rgb(index // 2, x))
        rgb = rgbs[-1]
        if share:
            rgb = (1 - share) * rgb + share * doubled(rgbs[0])
        return rgb.tanh() if self.layout.tanh else rgb

    def _layer(self, index: int, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        layout, keys = self.layout, self.layout.layer(index)
        bias = self.tensors[keys.bias][:, None, None] if keys.bias else torch.zeros(())
        if index:
            x = self._convolution(index, x, self.tensors[keys.weight])
        if index and index % 2 == 0:
            x = _blurred(x + bias) if layout.bias_before_blur else _blurred(x) + bias
        else:
            x = x + bias
        strength = self.tensors[keys.strength].flatten()
        if layout is ROSINALITY:
            strength = strength * math.sqrt(2 / len(strength))
        x = F.leaky_relu(x + noise * strength[:, None, None], 0.2)
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = x / (x.square().mean(dim=(2, 3), keepdim=True) + layout.epsilon).sqrt()
        affine, shift = (self.tensors[key] for key in keys.style)
        style = w @ affine.T * (layout.style_gain / math.sqrt(affine.shape[1])) + shift
        scale, offset = style[:, :, None, None].chunk(2, dim=1)
        return x * (scale + layout.one_added) + offset

    def _convolution(self, index: int, x: Tensor, weight: Tensor) -> Tensor:
        if not is_fused(index):
            weight = weight * math.sqrt(2 / (9 * weight.shape[1]))
            return F.conv2d(doubled(x) if index % 2 == 0 else x, weight, padding=1)
        kernel = torch.einsum(f"{self.layout.fused_axes}->iohw", weight)
        return transposed(x, kernel * self.layout.fused_gain)

    def _rgb(self, block: int, x: Tensor) -> Tensor:
        weight, bias = (self.tensors[key.format(block)] for key in self.layout.rgb)
        gain = self.layout.style_gain / math.sqrt(weight.shape[1])
        return F.conv2d(x, weight * gain, bias)


def transposed(x: Tensor, kernel: Tensor) -> Tensor:
    """Four shifted transposed convolutions, summed; the kernel is `[inputs, outputs, 3, 3]`."""
    once = F.conv_transpose2d(x, kernel * math.sqrt(2 / (9 * kernel.shape[0])), stride=2)
    side = once.shape[-1]
    total = x.new_zeros(*once.shape[:2], side + 1, side + 1)
    for down in (0, 1):
        for right in (0, 1):
            total[:, :, down : down + side, right : right + side] += once
    return total[:, :, 1:-1, 1:-1]


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def _blurred(x: Tensor) -> Tensor:
    padded = F.pad(x, (1, 1, 1, 1))
    rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4

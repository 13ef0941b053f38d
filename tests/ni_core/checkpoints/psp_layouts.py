"""Encoders of pSp, e4e and ReStyle files: random small ones, and what they compute by the book.

Nothing here is shared with our network: batch norms stay batch norms, and names are those of the
files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """One kind of encoder.

    Attributes:
        head: `pyramid`, `last`, `pooled` or `flattened`.
        progressive: Rows are offsets from the first.
        resnet: The body is ResNet, not IR-SE.
        channels: Of the input.
        side: Of the picture.
    """

    head: str = "pyramid"
    progressive: bool = False
    resnet: bool = False
    channels: int = 3
    side: int = 64
    rows: int = 8
    w_dim: int = 8
    widths: tuple[int, ...] = (4, 5, 6, 8)
    units: tuple[int, ...] = (2, 1, 2, 1)


def random_encoder(layout: Layout, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names and in the shapes of such a file."""
    return _Maker(layout, seed).tensors


class _Maker:
    def __init__(self, layout: Layout, seed: int) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._source = torch.Generator().manual_seed(seed)
        self._layout = layout
        (self._resnet if layout.resnet else self._irse)()
        getattr(self, f"_{layout.head}")()

    def _put(self, key: str, *shape: int, mean: float = 0.0, scale: float = 0.3) -> None:
        self.tensors[key] = mean + scale * torch.randn(*shape, generator=self._source)

    def _conv(self, name: str, inputs: int, outputs: int, side: int, bias: bool = False) -> None:
        self._put(f"{name}.weight", outputs, inputs, side, side, scale=1 / math.sqrt(inputs) / side)
        if bias:
            self._put(f"{name}.bias", outputs)

    def _norm(self, name: str, width: int) -> None:
        self._put(f"{name}.weight", width, mean=1.0)
        self._put(f"{name}.bias", width)
        self._put(f"{name}.running_mean", width)
        self.tensors[f"{name}.running_var"] = torch.rand(width, generator=self._source) + 0.5
        self.tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def _irse(self) -> None:
        widths = self._layout.widths
        self._conv("input_layer.0", self._layout.channels, widths[0], 3)
        self._norm("input_layer.1", widths[0])
        self._put("input_layer.2.weight", widths[0])
        for index, (inputs, outputs, _) in enumerate(_units(self._layout)):
            layers = f"body.{index}.res_layer"
            self._norm(f"{layers}.0", inputs)
            self._conv(f"{layers}.1", inputs, outputs, 3)
            self._put(f"{layers}.2.weight", outputs)
            self._conv(f"{layers}.3", outputs, outputs, 3)
            self._norm(f"{layers}.4", outputs)
            self._conv(f"{layers}.5.fc1", outputs, outputs // 2, 1)
            self._conv(f"{layers}.5.fc2", outputs // 2, outputs, 1)
            if inputs != outputs:
                self._conv(f"body.{index}.shortcut_layer.0", inputs, outputs, 1)
                self._norm(f"body.{index}.shortcut_layer.1", outputs)

    def _resnet(self) -> None:
        widths = self._layout.widths
        self._conv("conv1", self._layout.channels, widths[0], 7)
        self._norm("bn1", widths[0])
        self._put("relu.weight", widths[0])
        for index, (inputs, outputs, _) in enumerate(_units(self._layout)):
            for number, width in ((1, inputs), (2, outputs)):
                self._conv(f"body.{index}.conv{number}", width, outputs, 3)
                self._norm(f"body.{index}.bn{number}", outputs)
            if inputs != outputs:
                self._conv(f"body.{index}.downsample.0", inputs, outputs, 1)
                self._norm(f"body.{index}.downsample.1", outputs)

    def _last(self) -> None:
        layout = self._layout
        for row in range(layout.rows):
            finer = 0 if layout.head == "last" or row < 3 else 1 if row < 7 else 2
            inputs = layout.widths[-1]
            for index in range(int(math.log2(layout.side // 16)) + finer):
                self._conv(f"styles.{row}.convs.{2 * index}", inputs, layout.w_dim, 3, bias=True)
                inputs = layout.w_dim
            self._linear(f"styles.{row}.linear", layout.w_dim, layout.w_dim)

    def _pyramid(self) -> None:
        self._last()
        widths = self._layout.widths
        self._conv("latlayer1", widths[-2], widths[-1], 1, bias=True)
        self._conv("latlayer2", widths[-3], widths[-1], 1, bias=True)

    def _pooled(self) -> None:
        self._linear("linear", self._layout.widths[-1], self._layout.w_dim)

    def _flattened(self) -> None:
        layout = self._layout
        self._norm("output_layer_2.0", layout.widths[-1])
        self._put("output_layer_2.3.weight", layout.w_dim, 49 * layout.widths[-1], scale=0.02)
        self._put("output_layer_2.3.bias", layout.w_dim)
        self._linear("linear", layout.w_dim, layout.rows * layout.w_dim)

    def _linear(self, name: str, inputs: int, outputs: int) -> None:
        self._put(f"{name}.weight", outputs, inputs, scale=1.0)
        self._put(f"{name}.bias", outputs)


def textbook(tensors: dict[str, Tensor], layout: Layout, x: Tensor) -> Tensor:
    """Rows `[n, rows, w_dim]`, without a mean, of `[n, channels, side, side]`."""
    maps = _body(tensors, layout, x)
    if layout.head == "pooled":
        w = _equal_linear(tensors, "linear", maps[-1].mean(dim=(2, 3)))
        return w[:, None].repeat(1, layout.rows, 1)
    if layout.head == "flattened":
        x = F.adaptive_avg_pool2d(_norm(tensors, "output_layer_2.0", maps[-1]), 7).flatten(1)
        x = F.linear(x, tensors["output_layer_2.3.weight"], tensors["output_layer_2.3.bias"])
        return _equal_linear(tensors, "linear", x).view(len(x), layout.rows, layout.w_dim)
    sources = [maps[-1]] * layout.rows
    if layout.head == "pyramid":
        medium = _above(tensors, "latlayer1", maps[-2], maps[-1])
        fine = _above(tensors, "latlayer2", maps[-3], medium)
        sources = ([maps[-1]] * 3 + [medium] * 4 + [fine] * layout.rows)[: layout.rows]
    rows = torch.stack([_style(tensors, row, x) for row, x in enumerate(sources)], dim=1)
    if layout.progressive:
        rows[:, 1:] += rows[:, :1]
    return rows


def _units(layout: Layout) -> list[tuple[int, int, int]]:
    """Inputs, outputs and stride of each residual unit."""
    found: list[tuple[int, int, int]] = []
    inputs = layout.widths[0]
    for group, (outputs, count) in enumerate(zip(layout.widths, layout.units, strict=True)):
        for unit in range(count):
            halves = unit == 0 and not (layout.resnet and group == 0)
            found.append((inputs, outputs, 2 if halves else 1))
            inputs = outputs
    return found


def _body(tensors: dict[str, Tensor], layout: Layout, x: Tensor) -> list[Tensor]:
    stem, norm, slope = ("conv1", "bn1", "relu") if layout.resnet else _IRSE_STEM
    x = F.conv2d(x, tensors[f"{stem}.weight"], None, *((2, 3) if layout.resnet else (1, 1)))
    x = F.prelu(_norm(tensors, norm, x), tensors[f"{slope}.weight"])
    maps: list[Tensor] = []
    for index, (inputs, outputs, stride) in enumerate(_units(layout)):
        unit = _resnet_unit if layout.resnet else _irse_unit
        x = unit(tensors, f"body.{index}", x, inputs != outputs, stride)
        maps.append(x)
    ends = torch.tensor(layout.units).cumsum(0) - 1
    return [maps[end] for end in ends.tolist()]


_IRSE_STEM = ("input_layer.0", "input_layer.1", "input_layer.2")


def _irse_unit(
    tensors: dict[str, Tensor], name: str, x: Tensor, projected: bool, stride: int
) -> Tensor:
    y = _norm(tensors, f"{name}.res_layer.0", x)
    y = F.conv2d(y, tensors[f"{name}.res_layer.1.weight"], None, 1, 1)
    y = F.prelu(y, tensors[f"{name}.res_layer.2.weight"])
    y = F.conv2d(y, tensors[f"{name}.res_layer.3.weight"], None, stride, 1)
    y = _norm(tensors, f"{name}.res_layer.4", y)
    weights = F.conv2d(F.adaptive_avg_pool2d(y, 1), tensors[f"{name}.res_layer.5.fc1.weight"])
    weights = F.conv2d(F.relu(weights), tensors[f"{name}.res_layer.5.fc2.weight"])
    if not projected:
        return F.max_pool2d(x, 1, stride) + y * torch.sigmoid(weights)
    x = F.conv2d(x, tensors[f"{name}.shortcut_layer.0.weight"], None, stride)
    return _norm(tensors, f"{name}.shortcut_layer.1", x) + y * torch.sigmoid(weights)


def _resnet_unit(
    tensors: dict[str, Tensor], name: str, x: Tensor, projected: bool, stride: int
) -> Tensor:
    y = F.conv2d(x, tensors[f"{name}.conv1.weight"], None, stride, 1)
    y = F.relu(_norm(tensors, f"{name}.bn1", y))
    y = _norm(tensors, f"{name}.bn2", F.conv2d(y, tensors[f"{name}.conv2.weight"], None, 1, 1))
    if projected:
        x = F.conv2d(x, tensors[f"{name}.downsample.0.weight"], None, stride)
        x = _norm(tensors, f"{name}.downsample.1", x)
    return F.relu(x + y)


def _norm(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    parts = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(tensors[f"{name}.{part}"] for part in parts))


def _above(tensors: dict[str, Tensor], name: str, fine: Tensor, coarse: Tensor) -> Tensor:
    lateral = F.conv2d(fine, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
    size = (int(lateral.shape[2]), int(lateral.shape[3]))
    return F.interpolate(coarse, size, mode="bilinear", align_corners=True) + lateral


def _style(tensors: dict[str, Tensor], row: int, x: Tensor) -> Tensor:
    index = 0
    while f"styles.{row}.convs.{index}.weight" in tensors:
        name = f"styles.{row}.convs.{index}"
        x = F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], 2, 1)
        x = F.leaky_relu(x, 0.01)
        index += 2
    return _equal_linear(tensors, f"styles.{row}.linear", x.flatten(1))


def _equal_linear(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight = tensors[f"{name}.weight"]
    return F.linear(x, weight / math.sqrt(weight.shape[1]), tensors[f"{name}.bias"])

"""The pSp family of encoders: pSp, e4e and ReStyle differ by configuration alone.

Sources: pSp, arXiv:2008.00951; e4e, arXiv:2102.02766; ReStyle, arXiv:2104.02699.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ni_core.encoders.bodies import Body
from ni_core.encoders.heads import COARSE_ROWS, MEDIUM_ROWS, Flattened, Pooled, Pyramid, Style
from ni_core.encoders.passes import PassEncoder

Head = Literal["pyramid", "last", "pooled", "flattened"]


@dataclass(frozen=True)
class PspConfig:
    """Configuration of an encoder of the pSp family.

    Attributes:
        num_layers: Rows of W+.
        w_dim: Size of each.
        body: `irse` or `resnet`.
        widths: Channels of the body's four groups.
        units: Residual units of each group.
        reduction: Of squeeze and excitation.
        head: `pyramid` reads the rows from three maps, as pSp and e4e do; `last` reads them all
            from the last one, as ReStyle does; `pooled` gives one w; `flattened` all rows at once.
        hidden: Width inside the head `flattened`.
        progressive: The rows are offsets from the first one, as in e4e.
        input_shape: Height and width of the picture in pixels.
        iterations: Passes. Above 1 the encoder also looks at the picture of its last guess and
            corrects that guess, as ReStyle does.
        refines: Whether it does so.
    """

    num_layers: int
    w_dim: int = 512
    body: str = "irse"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    reduction: int = 16
    head: Head = "pyramid"
    hidden: int = 512
    progressive: bool = False
    input_shape: tuple[int, int] = (256, 256)
    refines: bool = False
    iterations: int = 1

    @property
    def input_channels(self) -> int:
        """Channels of the body's input."""
        return 6 if self.refines else 3

    def style_convolutions(self, row: int) -> int:
        """Convolutions that bring the map a row is read from down to one pixel."""
        coarse = max(1, (max(self.input_shape) // 16 - 1).bit_length())
        if self.head == "last" or row < COARSE_ROWS:
            return coarse
        return coarse + (1 if row < COARSE_ROWS + MEDIUM_ROWS else 2)


class Psp(PassEncoder):
    """An encoder of the pSp family; satisfies `Encoder`."""

    family: str = "psp"

    def __init__(self, config: PspConfig) -> None:
        super().__init__(
            config.num_layers,
            config.w_dim,
            input_shape=config.input_shape,
            space="w" if config.head == "pooled" else "w+",
            iterations=config.iterations,
            refines=config.refines,
            stages=config.num_layers - 1 if config.progressive else 0,
        )
        self.config = config
        self.body = Body(
            config.body, config.input_channels, config.widths, config.units, config.reduction
        )
        self.head = _head(config)
        self.styles = nn.ModuleList(
            Style(config.widths[-1], config.w_dim, config.style_convolutions(row))
            for row in range(config.num_layers if config.head in ("pyramid", "last") else 0)
        )

    def offsets(self, inputs: Tensor, stage: int | None = None) -> Tensor:
        """Run the network once; see `PassEncoder.offsets`."""
        maps = self.body(inputs)
        if isinstance(self.head, Pooled):
            w: Tensor = self.head(maps[-1])
            return w[:, None].expand(-1, self.num_layers, -1)
        if isinstance(self.head, Flattened):
            numbers: Tensor = self.head(maps[-1])
            return numbers.reshape(-1, self.num_layers, self.w_dim)
        used = self.num_layers if stage is None or not self.stages else stage + 1
        sources = self.head(maps, used) if isinstance(self.head, Pyramid) else [maps[-1]] * used
        rows = [style(x) for style, x in zip(self.styles, sources, strict=False)]
        return self._joined(rows)

    def _joined(self, rows: list[Tensor]) -> Tensor:
        if not self.config.progressive:
            return torch.stack(rows, dim=1)
        first = rows[0]
        raised = [first, *(first + row for row in rows[1:])]
        return torch.stack(raised + [first] * (self.num_layers - len(rows)), dim=1)


def _head(config: PspConfig) -> nn.Module | None:
    if config.head == "pyramid":
        return Pyramid(config.widths)
    if config.head == "pooled":
        return Pooled(config.widths[-1], config.w_dim)
    if config.head == "flattened":
        rows = config.num_layers * config.w_dim
        return Flattened(config.widths[-1], config.hidden, rows)
    return None

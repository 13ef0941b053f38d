"""The pSp family of encoders: pSp, e4e and ReStyle differ by configuration alone.

Sources: pSp, arXiv:2008.00951; e4e, arXiv:2102.02766; ReStyle, arXiv:2104.02699.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn

from ni_core.encoders.bodies import Body
from ni_core.encoders.heads import COARSE_ROWS, MEDIUM_ROWS, Flattened, Pooled, Pyramid, Style
from ni_core.encoders.protocol import (
    OnPass,
    Pass,
    fit_input,
    fit_rendering,
    read_stage,
    read_steps,
    require_fit,
)
from ni_core.encoders.rendering import Rendering
from ni_core.errors import GeneratorMismatchError, InvalidOptionError
from ni_core.generators import Generator, Space

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


class Psp(nn.Module):
    """An encoder of the pSp family; satisfies `Encoder`."""

    family: str = "psp"

    def __init__(self, config: PspConfig) -> None:
        super().__init__()
        self.config = config
        self.input_shape = config.input_shape
        self.num_layers = config.num_layers
        self.w_dim = config.w_dim
        self.space: Space = "w" if config.head == "pooled" else "w+"
        self.iterations = config.iterations
        self.needs_generator = config.refines
        self.stages = config.num_layers - 1 if config.progressive else 0
        self.generator: Generator | None = None
        self.body = Body(
            config.body, config.input_channels, config.widths, config.units, config.reduction
        )
        self.head = _head(config)
        self.styles = nn.ModuleList(
            Style(config.widths[-1], config.w_dim, config.style_convolutions(row))
            for row in range(config.num_layers if config.head in ("pyramid", "last") else 0)
        )
        self.w_avg = nn.Buffer(torch.zeros(config.num_layers, config.w_dim))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.w_avg.device

    def freeze(self) -> Self:
        """Set up for inference, without gradients.

        Channels stay first: channels last was slower and had four times the rounding error.
        """
        return self.eval().requires_grad_(False)

    @torch.no_grad()
    def encode(
        self,
        images: Tensor,
        generator: Generator | None = None,
        *,
        steps: int | None = None,
        stage: int | None = None,
        start: Tensor | None = None,
        on_pass: OnPass | None = None,
    ) -> Tensor:
        """Find latents; see `Encoder.encode`."""
        steps, stage = read_steps(self, steps), read_stage(self, stage)
        generator = self._generator(generator)
        pictures = fit_input(images.to(self.device), self.input_shape)
        for step, latents, images_of in self._passes(pictures, generator, start, stage, steps):
            if on_pass is not None:
                on_pass(Pass(step, steps, latents, images_of))
        return latents

    def offsets(self, inputs: Tensor, stage: int | None = None) -> Tensor:
        """Run the network once.

        Args:
            inputs: `[n, 3, h, w]` of `input_shape`; `[n, 6, h, w]`, pictures and their
                reconstructions, if the encoder refines.
            stage: Progressive stage; None is the last one.

        Returns:
            What is to be added to the mean of W, or to the last guess: `[n, num_layers, w_dim]`.
        """
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

    def _passes(
        self,
        pictures: Tensor,
        generator: Generator | None,
        start: Tensor | None,
        stage: int,
        steps: int,
    ) -> Iterator[tuple[int, Tensor, Rendering]]:
        latents = self._start(start, len(pictures))
        rendering = Rendering(generator, latents if start is not None else self.w_avg[None])
        for step in range(1, steps + 1):
            inputs = pictures
            if self.needs_generator:
                shown = fit_rendering(rendering(), self.input_shape).expand_as(pictures)
                inputs = torch.cat([pictures, shown], dim=1)
            latents = latents + self.offsets(inputs, stage)
            rendering = Rendering(generator, latents)
            yield step, latents, rendering

    def _start(self, start: Tensor | None, n: int) -> Tensor:
        if start is None:
            return self.w_avg.expand(n, -1, -1)
        if not self.needs_generator:
            raise InvalidOptionError("this encoder has a single pass: it cannot refine a start")
        return start.to(self.w_avg)

    def _generator(self, given: Generator | None) -> Generator | None:
        generator = given if given is not None else self.generator
        if generator is None and self.needs_generator:
            raise GeneratorMismatchError(
                "this encoder looks at the picture of its last guess, and so needs its generator"
            )
        if generator is not None:
            require_fit(self, generator)
        return generator


def _head(config: PspConfig) -> nn.Module | None:
    if config.head == "pyramid":
        return Pyramid(config.widths)
    if config.head == "pooled":
        return Pooled(config.widths[-1], config.w_dim)
    if config.head == "flattened":
        rows = config.num_layers * config.w_dim
        return Flattened(config.widths[-1], config.hidden, rows)
    return None

"""Generators saved with torch.export: a family that we do not know, behind our protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ni_core.errors import BrokenBundleError, SpaceNotAvailableError
from ni_core.generators.base import GeneratorNetwork
from ni_core.generators.program import Program, read_program
from ni_core.generators.protocol import Noise, Prior, Space, broadcast_rows, no_w


@dataclass(frozen=True)
class ExportedConfig:
    """What is known of a program.

    Attributes:
        resolution: Side of the image in pixels.
        space: What it takes: z, w, or rows of w+.
        shape: Shape of one input: `[z_dim]`, `[w_dim]` or `[num_layers, w_dim]`.
        batch: Images it makes at once; None for any number.
        program_bytes: Length of the graph.
        weights: Shape of each weight.
        range: Range of the image: `signed` is [-1, 1], `unit` is [0, 1].
        prior: Law of every number of z.
    """

    resolution: int
    space: Space
    shape: tuple[int, ...]
    batch: int | None
    program_bytes: int
    weights: tuple[tuple[int, ...], ...]
    range: Literal["signed", "unit"] = "signed"
    prior: Prior = "normal"

    def __post_init__(self) -> None:
        rows = {"z": 1, "w": 1, "w+": 2}.get(self.space)
        if rows is None or len(self.shape) != rows:
            raise BrokenBundleError(
                f"a program that takes {list(self.shape)} does not take the space {self.space!r}",
                value=self.space,
                limit=["z", "w", "w+"],
            )
        if self.range not in ("signed", "unit") or self.prior not in ("normal", "uniform"):
            raise BrokenBundleError(
                f"range {self.range!r} is not signed or unit, or prior {self.prior!r} is not "
                "normal or uniform"
            )

    @property
    def z_dim(self) -> int:
        """Size of z; 0 for a program that takes w."""
        return self.shape[-1] if self.space == "z" else 0

    @property
    def w_dim(self) -> int:
        """Size of w; 0 for a program that takes z."""
        return 0 if self.space == "z" else self.shape[-1]

    @property
    def num_layers(self) -> int:
        """Rows of W+; one for a program that takes a single w."""
        return {"z": 0, "w": 1}.get(self.space, self.shape[0])

    @property
    def num_classes(self) -> int:
        """Not conditional."""
        return 0

    @property
    def spaces(self) -> frozenset[Space]:
        """The space it takes; rows of w+ can be one w repeated."""
        return frozenset({"w", "w+"} if self.space == "w+" else {self.space})


class Exported(GeneratorNetwork):
    """A program of torch.export behind the `Generator` protocol.

    Attributes:
        fingerprint: Names these weights; set by whoever loads them.
    """

    family = "exported"
    w_avg: Tensor
    program: Tensor

    def __init__(self, config: ExportedConfig) -> None:
        super().__init__(config)
        self.config = config
        self.register_buffer("program", torch.zeros(config.program_bytes, dtype=torch.uint8))
        for index, shape in enumerate(config.weights):
            self.register_buffer(f"weight_{index}", torch.zeros(shape))
        self.register_buffer("w_avg", torch.zeros(config.w_dim), persistent=False)
        self._graph: Program | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.program.device

    def freeze(self) -> Exported:
        """Read the graph and check each of its operators.

        Raises:
            BrokenBundleError: The graph is damaged, or uses what is not run.
        """
        self._graph = read_program(bytes(self.program.cpu().numpy()))
        self.w_avg = torch.zeros(self.w_dim, device=self.device)
        return self.eval().requires_grad_(False)

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """There is no way from z to w.

        Raises:
            SpaceNotAvailableError: Always.
        """
        raise no_w(self.family) if self.space_is_z else _no_z()

    def broadcast(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Bring w to rows; see `broadcast_rows`. The mean of W is taken to be 0.

        Raises:
            SpaceNotAvailableError: The program takes z.
        """
        if self.space_is_z:
            raise no_w(self.family)
        return broadcast_rows(w, self.w_avg, self.num_layers, psi, cutoff)

    @property
    def space_is_z(self) -> bool:
        """Whether the program takes z."""
        return self.config.space == "z"

    def synthesize(self, w_plus: Tensor, noise: Noise = "const") -> Tensor:
        """Render.

        Args:
            w_plus: z `[n, z_dim]` or rows `[n, num_layers, w_dim]`, as the program takes.
            noise: Ignored; the program has its own.

        Returns:
            RGB `[n, 3, resolution, resolution]`, about [-1, 1], float32; grey is repeated.

        Raises:
            BrokenBundleError: The program fails, or makes other than it announced.
        """
        rows = w_plus[:, 0] if self.config.space == "w" else w_plus
        image = self._in_batches(rows).float()
        sides = (self.resolution, self.resolution)
        if image.shape[1] not in (1, 3) or tuple(image.shape[2:]) != sides:
            raise BrokenBundleError(
                f"the program makes {list(image.shape[1:])}, not 1 or 3 channels of "
                f"{self.resolution} px",
                value=list(image.shape[1:]),
                limit=self.resolution,
            )
        image = image * 2 - 1 if self.config.range == "unit" else image
        return image.expand(-1, 3, -1, -1)

    def _in_batches(self, rows: Tensor) -> Tensor:
        """Run the program, in batches of its size if it has one; the last one is filled up."""
        assert self._graph is not None, "freeze() comes before synthesize()"
        weights = [getattr(self, f"weight_{index}") for index in range(len(self.config.weights))]
        size = self.config.batch
        if size is None:
            return self._graph.run(rows, weights)
        missing = -len(rows) % size
        filled = torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows
        images = [self._graph.run(batch, weights) for batch in filled.split(size)]
        return torch.cat(images)[: len(rows)]

    def style_weights(self, layers: Sequence[int]) -> Tensor:
        """A program does not say how its latents enter.

        Raises:
            SpaceNotAvailableError: Always.
        """
        raise SpaceNotAvailableError(
            "an exported program has no style weights; directions can be found from samples, "
            "or imported"
        )


def _no_z() -> SpaceNotAvailableError:
    return SpaceNotAvailableError(
        "the exported program takes w, and has no way from z to it", value="z"
    )

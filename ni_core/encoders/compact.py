"""A compact encoder for small bundles: e4e, pSp or ReStyle by its configuration alone.

Sources: pSp, arXiv:2008.00951; e4e, arXiv:2102.02766; ReStyle, arXiv:2104.02699. Differs from all
of them: the trunk is a SqueezeNet, all rows are read from one vector of features, in units of the
spread of W, and an encoder that refines compares the vectors of the picture and of its last
reconstruction instead of looking at both pictures at once. So one linear layer is the greater part
of it, and that has a best value in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ni_core.encoders.passes import PassEncoder
from ni_core.encoders.squeeze import SMALLEST_PX, SqueezeTrunk, vector_size

SLOPE = 0.2
"""Negative slope of the leaky ReLU."""


@dataclass(frozen=True)
class CompactConfig:
    """Configuration of a compact encoder.

    Attributes:
        num_layers: Rows of W+.
        w_dim: Size of each.
        resolution: Side of the picture it looks at, in pixels, from 17.
        hidden: Width of the layer that bends the rows; they are linear in the features otherwise.
        progressive: Rows can be held at the first one from a stage on, as in e4e.
        refines: Whether it also looks at the picture of its last guess and corrects that guess,
            as ReStyle does.
        iterations: Passes. Above 1 only where it refines.
    """

    num_layers: int
    w_dim: int
    resolution: int = 64
    hidden: int = 128
    progressive: bool = False
    refines: bool = False
    iterations: int = 1

    def __post_init__(self) -> None:
        if self.resolution < SMALLEST_PX:
            raise ValueError(f"resolution {self.resolution} is below {SMALLEST_PX}")


class CompactEncoder(PassEncoder):
    """A compact encoder; satisfies `Encoder`.

    Every row is the first one and a delta. `shift` and `scale` standardise the features; `basis`
    brings rows from units of the spread of W to W: a row of numbers of variance 1 becomes an
    offset as large as those among the codes of W.
    """

    family: str = "compact"

    def __init__(self, config: CompactConfig) -> None:
        super().__init__(
            config.num_layers,
            config.w_dim,
            input_shape=(config.resolution, config.resolution),
            iterations=config.iterations,
            refines=config.refines,
            stages=config.num_layers - 1 if config.progressive else 0,
        )
        self.config = config
        features = vector_size(config.resolution)
        self.trunk = SqueezeTrunk()
        self.base = nn.Linear(features, config.w_dim)
        self.hidden = nn.Linear(features, config.hidden)
        self.bends = nn.Linear(config.hidden, config.num_layers * config.w_dim)
        for layer in (self.base, self.bends):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.shift = nn.Buffer(torch.zeros(features))
        self.scale = nn.Buffer(torch.ones(features))
        self.basis = nn.Buffer(torch.eye(config.w_dim))

    def offsets(self, inputs: Tensor, stage: int | None = None) -> Tensor:
        """Run the network once; see `PassEncoder.offsets`."""
        return self.rows(inputs, stage) @ self.basis

    def rows(self, inputs: Tensor, stage: int | None = None) -> Tensor:
        """Offsets `[n, num_layers, w_dim]` in units of the spread of W; see `offsets`."""
        features = self.features(inputs)
        bends = self.bends(F.leaky_relu(self.hidden(features), SLOPE))
        bends = bends.unflatten(1, (self.num_layers, self.w_dim))
        base = self.base(features)[:, None] + bends[:, :1]
        used = self.num_layers - 1 if stage is None or not self.stages else stage
        held = base.expand(-1, self.num_layers - 1 - used, -1)
        return torch.cat([base, base + bends[:, 1 : used + 1], held], dim=1).float()

    def features(self, inputs: Tensor) -> Tensor:
        """Standardised features of pictures, or how they differ from those of reconstructions."""
        vectors = self.trunk.vector(inputs.unflatten(1, (-1, 3)).transpose(0, 1).flatten(0, 1))
        if not self.needs_generator:
            return (vectors - self.shift) * self.scale
        pictures, shown = vectors.chunk(2)
        return (pictures - shown) * self.scale

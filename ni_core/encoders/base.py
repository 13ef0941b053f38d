"""What all encoders have in common: the facts of `Encoder`, freezing, and finding a generator."""

from __future__ import annotations

from typing import NotRequired, Self, TypedDict, Unpack, cast

import torch
from torch import nn

from ni_core.encoders.protocol import Encoder, require_fit
from ni_core.errors import InvalidOptionError
from ni_core.generators import Generator, Space


class Facts(TypedDict):
    """What is known of an encoder besides the rows it gives.

    Attributes:
        input_shape: Height and width of the picture in pixels.
        space: `w+` (the default), `w` if all rows of a picture are equal, or `z`.
        iterations: Passes it was trained for; by default 1.
        refines: Whether it looks at the picture of its last guess; by default not.
        stages: Highest progressive stage; 0, the default, if it has none.
    """

    input_shape: tuple[int, int]
    space: NotRequired[Space]
    iterations: NotRequired[int]
    refines: NotRequired[bool]
    stages: NotRequired[int]


class EncoderBase(nn.Module):
    """Facts of an encoder; a subclass names its family and gives `device` and `encode`.

    Args:
        num_layers: Rows of W+.
        w_dim: Size of each.
        facts: See `Facts`.
    """

    family: str

    def __init__(self, num_layers: int, w_dim: int, **facts: Unpack[Facts]) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.w_dim = w_dim
        self.input_shape = facts["input_shape"]
        self.space: Space = facts.get("space", "w+")
        self.iterations = facts.get("iterations", 1)
        self.needs_generator = facts.get("refines", False)
        self.stages = facts.get("stages", 0)
        self.generator: Generator | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        raise NotImplementedError

    def freeze(self) -> Self:
        """Set up for inference, without gradients.

        Channels stay first: channels last was slower and had four times the rounding error.
        """
        return self.eval().requires_grad_(False)

    def fitting_generator(self, given: Generator | None) -> Generator | None:
        """The generator given, else its own; checked to fit.

        Raises:
            GeneratorMismatchError: It does not fit this encoder.
        """
        generator = given if given is not None else self.generator
        if generator is not None:
            require_fit(cast(Encoder, self), generator)
        return generator

    def require_refining(self) -> None:
        """Check that this encoder can go on from a start.

        Raises:
            InvalidOptionError: It looks only once.
        """
        if not self.needs_generator:
            raise InvalidOptionError("this encoder has a single pass: it cannot refine a start")

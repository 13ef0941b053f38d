"""What every encoder offers: pictures to latents in one pass, or in a few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ni_core.errors import GeneratorMismatchError, InvalidOptionError
from ni_core.generators import Generator, Space


@dataclass(frozen=True)
class Pass:
    """State after one pass of an encoder, for a callback.

    Attributes:
        step: Passes done in this call, from 1.
        steps: Passes planned in this call.
        latents: What the pass gave, `[n, num_layers, w_dim]`.
        images: Renders them, `[n, 3, r, r]`, at most once; needs the generator.
    """

    step: int
    steps: int
    latents: Tensor
    images: Callable[[], Tensor]


OnPass = Callable[[Pass], None]
"""Called after each pass. What it raises ends the encoding and reaches the caller."""


@runtime_checkable
class Encoder(Protocol):
    """A frozen pretrained encoder.

    Attributes:
        family: Name in the table of encoder families.
        input_shape: Height and width of the picture it looks at, in pixels.
        num_layers: Rows of W+ it gives.
        w_dim: Size of each.
        space: `w+`, or `w` if all rows of a picture are equal.
        iterations: Passes it was trained for.
        needs_generator: Whether it looks at the picture of its previous guess.
        stages: Highest progressive stage; 0 if it has none.
        generator: Used where `encode` is given none.
    """

    family: str
    input_shape: tuple[int, int]
    num_layers: int
    w_dim: int
    space: Space
    iterations: int
    needs_generator: bool
    stages: int
    generator: Generator | None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def encode(
        self,
        images: Float[Tensor, "n 3 h w"],
        generator: Generator | None = None,
        *,
        steps: int | None = None,
        stage: int | None = None,
        start: Tensor | None = None,
        on_pass: OnPass | None = None,
    ) -> Float[Tensor, "n num_layers w_dim"]:
        """Find latents whose synthesis resembles the pictures.

        Args:
            images: RGB in [-1, 1] of any size; see `fit_input`.
            generator: Whose latents these are; needed where `needs_generator` says so.
            steps: Passes; None stands for `iterations`. Only 1 unless `needs_generator`.
            stage: Rows above this one keep the first row's value, as early in the training of a
                progressive encoder; None for all rows.
            start: Latents `[n, num_layers, w_dim]` to refine instead of the mean of W; only where
                `needs_generator`.
            on_pass: Called after each pass.

        Returns:
            Latents, the mean of W added.

        Raises:
            InvalidOptionError: `steps`, `stage` or `start` is not for this encoder.
            GeneratorMismatchError: The generator is missing, or has other rows.
        """
        ...


def fit_input(
    images: Float[Tensor, "n c h w"], shape: tuple[int, int]
) -> Float[Tensor, "n c height width"]:
    """Bring pictures to an encoder's input.

    The middle is cut out where the sides have another ratio. Then sides that shrink are averaged
    by area and others are interpolated linearly; a picture of the right size is left as it is.

    Args:
        images: Pictures of any size.
        shape: Height and width in pixels.
    """
    images = _cut(images, shape)
    if tuple(images.shape[2:]) == shape:
        return images
    if images.shape[2] >= shape[0]:
        return pool(images, shape)
    return F.interpolate(images, shape, mode="bilinear", align_corners=False)


def fit_rendering(
    images: Float[Tensor, "n c h w"], shape: tuple[int, int]
) -> Float[Tensor, "n c height width"]:
    """Bring a generator's own pictures to an encoder's input: always by area, as in ReStyle."""
    return pool(_cut(images, shape), shape)


def pool(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mean over the area of each pixel; where the picture grows, pixels are repeated."""
    return images if tuple(images.shape[2:]) == shape else F.adaptive_avg_pool2d(images, shape)


def require_fit(encoder: Encoder, generator: Generator) -> None:
    """Check that an encoder's latents are those of a generator.

    Raises:
        GeneratorMismatchError: They have another shape.
    """
    ours = (encoder.num_layers, encoder.w_dim)
    theirs = (generator.num_layers, generator.w_dim)
    if ours != theirs:
        raise GeneratorMismatchError(
            f"the encoder gives latents of shape {list(ours)}, but the generator takes "
            f"{list(theirs)}",
            value=list(ours),
            limit=list(theirs),
        )


def read_steps(encoder: Encoder, steps: int | None) -> int:
    """Return the number of passes asked for.

    Raises:
        InvalidOptionError: It is below 1, or above 1 for an encoder of one pass.
    """
    if steps is None:
        return encoder.iterations
    if steps < 1 or (steps > 1 and not encoder.needs_generator):
        limit = "at least 1" if encoder.needs_generator else "1: this encoder has a single pass"
        raise InvalidOptionError(
            f"steps is {steps}, but must be {limit}", option="steps", value=steps
        )
    return steps


def read_stage(encoder: Encoder, stage: int | None) -> int:
    """Return the progressive stage asked for, the last one for None.

    Raises:
        InvalidOptionError: The encoder has no such stage.
    """
    if stage is None:
        return encoder.stages
    if not 0 <= stage <= encoder.stages or not encoder.stages:
        limit = f"from 0 to {encoder.stages}" if encoder.stages else "left out: it has no stages"
        raise InvalidOptionError(
            f"stage is {stage}, but for this encoder must be {limit}",
            option="stage",
            value=stage,
            limit=encoder.stages,
        )
    return stage


def _cut(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Cut out the middle part that has the ratio of the sides of `shape`."""
    height, width = int(images.shape[2]), int(images.shape[3])
    kept = (
        min(height, round(width * shape[0] / shape[1])),
        min(width, round(height * shape[1] / shape[0])),
    )
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    return images[:, :, top : top + kept[0], left : left + kept[1]]

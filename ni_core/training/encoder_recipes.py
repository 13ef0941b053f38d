"""What the result of an encoder's training depends on, and how a training goes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ni_core.encoders.compact import CompactConfig
from ni_core.errors import InvalidOptionError
from ni_core.generators import Generator
from ni_core.objectives import Coefficients

PICTURES = 32_000
"""Length of a training: 15 to 25 minutes of a CPU core."""


@dataclass(frozen=True)
class EncoderRecipe:
    """How an encoder is trained.

    Attributes:
        kind: `e4e`, `psp` or `restyle`.
        source: Where pictures that are no samples come from; None if there are none.
        generator: Fingerprint of the generator.
        features: Digest of the feature network of the loss; None for none.
        start: Digest of the weights it begins with; None for those of `linear_start`.
        pictures: Length of the training; the learning rate falls to 0 over it. A picture counts
            once for every pass.
        batch: Pictures of a step.
        fitted: Samples from which the linear part is found before the first step.
        hidden: Width of the layer that bends the rows.
        input_px: Side of the picture the encoder looks at.
        iterations: Passes.
        rate: Highest learning rate.
        reading_gain: Factor of the learning rate of the layers that read all features.
        weight_decay: Of AdamW.
        rising: Part of the training in which the learning rate rises.
        average: Half-life of the averaged weights, in pictures.
        mixing: Part of the samples whose fine rows are another sample's.
        latent_coefficient: Of the squared error of a sample's rows, in units of the spread of W.
        coefficients: Of the distortion.
        delta_coefficient: Of the mean length of the deltas.
        critic_coefficient: Of the latent discriminator; 0 for none.
        progress: Parts of the training between which one delta after another is let go; before
            the first one all rows are the base. None for an encoder without stages.
        seed: Of weights, order and samples.
    """

    kind: str
    source: str | None
    generator: str
    features: str | None = None
    start: str | None = None
    pictures: int = PICTURES
    batch: int = 32
    fitted: int = 6144
    hidden: int = 128
    input_px: int = 64
    iterations: int = 1
    rate: float = 2e-4
    reading_gain: float = 0.05
    weight_decay: float = 0.01
    rising: float = 0.03
    average: float = 2_000.0
    mixing: float = 0.0
    latent_coefficient: float = 0.1
    coefficients: Coefficients = field(default_factory=lambda: Coefficients(features=0.5))
    delta_coefficient: float = 0.0
    critic_coefficient: float = 0.0
    progress: tuple[float, float] | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.batch < 2 * self.iterations:
            raise InvalidOptionError(
                f"a batch of {self.batch} pictures cannot hold fresh ones for {self.iterations} "
                f"passes, which takes {2 * self.iterations} at least",
                option="batch",
                value=self.batch,
                limit=2 * self.iterations,
            )

    def done(self, seen: int) -> float:
        """Part of the training that is over, 0 to 1."""
        return min(1.0, seen / self.pictures)

    def stage(self, seen: int, last: int) -> int | None:
        """Deltas that are let go of the `last` ones there are; None without stages."""
        if self.progress is None:
            return None
        first, end = self.progress
        return math.floor(last * min(1.0, max(0.0, (self.done(seen) - first) / (end - first))))

    def rate_at(self, seen: int) -> float:
        """Learning rate: a rise, then half a cosine down to 0."""
        done = self.done(seen)
        rise = min(1.0, (seen + self.batch) / (self.rising * self.pictures))
        return self.rate * rise * (1 + math.cos(math.pi * done)) / 2

    def config(self, generator: Generator) -> CompactConfig:
        """Configuration of the encoder.

        Raises:
            InvalidOptionError: The side is too small for the trunk.
        """
        try:
            return CompactConfig(
                num_layers=generator.num_layers,
                w_dim=generator.w_dim,
                resolution=self.input_px,
                hidden=self.hidden,
                progressive=self.progress is not None,
                refines=self.iterations > 1,
                iterations=self.iterations,
            )
        except ValueError as error:
            raise InvalidOptionError(str(error), option="input_px", value=self.input_px) from error


KINDS: dict[str, dict[str, object]] = {
    "psp": {"mixing": 0.5},
    "e4e": {
        "progress": (0.15, 0.5),
        "delta_coefficient": 4e-3,
        "critic_coefficient": 0.03,
    },
    "restyle": {"mixing": 0.5, "batch": 40, "iterations": 5},
}
"""What a kind has of its own, beside the defaults of `EncoderRecipe`."""

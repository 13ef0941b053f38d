"""What a reader of foreign files returns, and what a reader is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ni_core.checkpoints.document import Document
from ni_core.generators.base import GeneratorConfig
from ni_core.generators.families import build_generator
from ni_core.generators.protocol import Generator, sample_z

W_AVG_SAMPLES = 10_000
"""Mapped samples whose mean stands in for a mean of W that a file lacks."""

W_AVG = "w_avg"


@dataclass(frozen=True)
class GeneratorCheckpoint:
    """A generator read from a foreign file, in our own terms.

    Attributes:
        family: A name in the table of families.
        config: That family's configuration.
        tensors: Every parameter and buffer of our network, float32. Some may be pages of the
            mapped file, which must stay as it is for as long.
        format: Name of the format it was read from.
        notes: What was computed, chosen or left out on the way, one sentence each.
    """

    family: str
    config: GeneratorConfig
    tensors: Mapping[str, Tensor]
    format: str
    notes: tuple[str, ...] = ()

    def build(self) -> Generator:
        """Make the generator; its fingerprint stays empty until it is in a bundle."""
        return build_generator(self.family, self.config, self.tensors)


@dataclass(frozen=True)
class EncoderCheckpoint:
    """An encoder read from a foreign file, in our own terms.

    Attributes:
        family: A name in the table of encoder families.
        config: That family's configuration.
        tensors: Every parameter and buffer of our network, float32. Some may be pages of the
            mapped file, which must stay as it is for as long.
        format: Name of the format it was read from.
        notes: What was computed, chosen or left out on the way, one sentence each.
        generator: The generator in the same file, if there is one.
    """

    family: str
    config: Any
    tensors: Mapping[str, Tensor]
    format: str
    notes: tuple[str, ...] = ()
    generator: GeneratorCheckpoint | None = None


@dataclass(frozen=True)
class Reader:
    """One file format.

    Attributes:
        format: Its name, as users and manifests see it.
        meaning: Which files these are, for lists and error messages.
        matches: Tells from the content alone whether a document has this format.
        generator: Reads the generator, if the format has one.
        encoder: Reads the encoder, if the format has one.
        sized: Reads the generator for a resolution in pixels, if its files hold several.
        takes_layout: Whether a layout file can tell what its files do not.
    """

    format: str
    meaning: str
    matches: Callable[[Document], bool]
    generator: Callable[[Document], GeneratorCheckpoint] | None = None
    encoder: Callable[[Document], EncoderCheckpoint] | None = None
    sized: Callable[[Document, int], GeneratorCheckpoint] | None = None
    takes_layout: bool = False


def with_w_avg(checkpoint: GeneratorCheckpoint) -> GeneratorCheckpoint:
    """Fill in the mean of W where a file has none: the mean of mapped samples of a fixed seed.

    A conditional generator's mean is taken over all classes.

    Args:
        checkpoint: A checkpoint of a family with W, with or without `w_avg`.
    """
    if W_AVG in checkpoint.tensors:
        return checkpoint
    blank = {**checkpoint.tensors, W_AVG: torch.zeros(checkpoint.config.w_dim)}
    generator = replace(checkpoint, tensors=blank).build()
    z = sample_z(generator, W_AVG_SAMPLES, seed=0)
    classes = max(generator.num_classes, 1)
    with torch.no_grad():
        w = generator.map(z, torch.arange(W_AVG_SAMPLES) % classes)
    mean = w.double().flatten(0, -2).mean(dim=0).float()
    note = f"the file has no mean of W: mean of {W_AVG_SAMPLES} samples"
    return replace(checkpoint, tensors={**blank, W_AVG: mean}, notes=(*checkpoint.notes, note))

"""Pairs of latents and the features of their pictures: all that a latent mapper learns from.

Pictures cost most of a mapper's training, so a set of pairs is made once and kept in a folder, in
chunks that each depend on the seed and their number alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ni_core.encoders.mapper import LatentMapper
from ni_core.errors import InvalidOptionError
from ni_core.generators import Generator, Space, to_synthesis_input
from ni_core.training.masks import hide, random_masks
from ni_core.training.own_samples import draw_rows
from ni_core.training.picture_streams import draw_z
from ni_core.training.precision import mixed_precision
from ni_core.training.runs import random_of

CHUNK = 512
"""Pairs in one file."""

BATCH, BATCH_PIXELS = 64, 64 * 256**2
"""At most so many pictures are worked on at once, and so many pixels."""

STREAM = 7
"""Of the random numbers; no other part of a training uses it."""

DOCUMENT = "pairs.json"

SECONDS = "seconds"
"""What a chunk took, in its file's metadata."""


@dataclass(frozen=True)
class PairRecipe:
    """What a set of pairs depends on.

    Attributes:
        generator: Fingerprint.
        features: Digest of the feature network's weights.
        read: What is read of it: architecture and grid.
        space: Of the latents.
        mixing: Part of the latents in W+ whose fine rows are another code's.
        seed: Of latents and masks.
    """

    generator: str
    features: str
    read: str
    space: Space
    mixing: float
    seed: int


class LatentPairs:
    """A set of pairs in a folder.

    Args:
        folder: Where the chunks are; made if missing.
        recipe: What they depend on.
        mapper: Reads the features.
        generator: Makes the pictures.

    Raises:
        InvalidOptionError: The folder holds pairs of another recipe.
    """

    def __init__(
        self, folder: Path, recipe: PairRecipe, mapper: LatentMapper, generator: Generator
    ) -> None:
        self.recipe = recipe
        self._folder, self._mapper, self._generator = folder, mapper, generator
        folder.mkdir(parents=True, exist_ok=True)
        document = folder / DOCUMENT
        if document.exists():
            _require_same(document, asdict(recipe))
        document.write_text(json.dumps(asdict(recipe), indent=2) + "\n")

    def take(self, n: int) -> tuple[Tensor, Tensor]:
        """The first `n` pairs; those that are missing are made first.

        Returns:
            Features `[2, n, d]` in half precision, of whole pictures and of pictures with unknown
            parts, and latents `[n, rows, numbers]`.
        """
        for number, path in enumerate(self._paths(n)):
            if not path.exists():
                self._make(number)
        chunks = [load_file(path) for path in self._paths(n)]
        features = torch.cat([chunk["features"] for chunk in chunks], dim=1)
        latents = torch.cat([chunk["latents"] for chunk in chunks])
        return features[:, :n], latents[:n]

    def seconds(self, n: int) -> float:
        """Wall time that making the first `n` pairs took, in whole chunks."""
        total = 0.0
        for path in self._paths(n):
            with safe_open(path, framework="pt") as file:
                total += float((file.metadata() or {}).get(SECONDS, 0))
        return round(total, 1)

    def _paths(self, n: int) -> list[Path]:
        return [self._path(number) for number in range(-(-n // CHUNK))]

    def _path(self, number: int) -> Path:
        return self._folder / f"pairs-{number:05d}.safetensors"

    def _make(self, number: int) -> None:
        began = time.monotonic()
        random = random_of(self.recipe.seed, number, STREAM)
        side, features, latents = self._generator.resolution, [], []
        for part in torch.arange(CHUNK).split(max(1, min(BATCH, BATCH_PIXELS // side**2))):
            n = len(part)
            latent = draw_latents(
                self._generator, n, self.recipe.space, random, mixing=self.recipe.mixing
            )
            features.append(self._read(latent, random_masks(n, side, random)))
            latents.append(latent.cpu().view(n, -1, latent.shape[-1]))
        tensors = {"features": torch.cat(features, dim=1), "latents": torch.cat(latents)}
        partial = self._folder / f".{os.getpid()}-pairs"
        save_file(tensors, partial, metadata={SECONDS: f"{time.monotonic() - began:.2f}"})
        partial.rename(self._path(number))

    @torch.no_grad()
    def _read(self, latents: Tensor, known: Tensor) -> Tensor:
        """Features `[2, n, d]` of the latents' pictures, whole and with unknown parts."""
        device = self._generator.device
        with mixed_precision(device):
            images = pictures_of(self._generator, latents, self.recipe.space)
            both = torch.cat([images, hide(images, known.to(device))])
            read = self._mapper.read(both.contiguous(memory_format=torch.channels_last))
        return torch.stack(read.half().cpu().chunk(2))


def draw_latents(
    generator: Generator, n: int, space: Space, random: torch.Generator, *, mixing: float
) -> Tensor:
    """Draw latents of a space: `[n, z_dim]`, `[n, w_dim]` or `[n, num_layers, w_dim]`."""
    if space == "z":
        return draw_z(generator, n, random).to(generator.device)
    rows = draw_rows(generator, n, random, mixing=mixing if space == "w+" else 0.0)
    return rows if space == "w+" else rows[:, 0]


def pictures_of(generator: Generator, latents: Tensor, space: Space) -> Tensor:
    """Pictures `[n, 3, r, r]` of latents of any space, cut off at [-1, 1]."""
    return generator.synthesize(to_synthesis_input(generator, latents, space)).clamp(-1, 1)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Name weights by their content."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _require_same(document: Path, recipe: Mapping[str, object]) -> None:
    there = json.loads(document.read_text())
    changed = [key for key, value in recipe.items() if there.get(key) != value]
    if changed:
        raise InvalidOptionError(
            f"{document.parent} holds pairs of another training: {', '.join(changed)} differs; "
            "name another folder with --pairs",
            option="pairs",
            value=str(document.parent),
        )

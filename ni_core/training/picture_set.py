"""Pre-rendered portraits on disk, for training where rendering on the fly is too slow.

A set is a folder of chunks named by seed, resolution and first picture; since a
picture depends on seed and index alone, chunks can be rendered by any number of
processes, in any order, and added later. Factors are not stored: `sample_factors`
gives them back. `ni train portraits` is this file's `main`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ni_core.training.portraits import factors_at, render, sample_factors

CHUNK_PICTURES = 1024
"""Pictures in one file."""

TEST_START = 1 << 30
"""Index of the first picture that no training run may use."""


class Pictures(Protocol):
    """Where training pictures come from: a folder or the renderer itself."""

    resolution: int
    seed: int

    def take(self, indices: Tensor, device: torch.device) -> Tensor:
        """Pictures `[n, 3, r, r]` in [-1, 1] of the given indices `[n]`, on the device."""
        ...

    def __len__(self) -> int: ...


class RenderedPictures:
    """Pictures of a folder, memory-mapped; as many as are there without a gap.

    Args:
        folder: What `render_set` wrote.
        seed: Stream of the pictures.
        resolution: Side in pixels.
        limit: At most so many pictures; None takes all.
    """

    def __init__(
        self, folder: Path, *, seed: int, resolution: int = 64, limit: int | None = None
    ) -> None:
        self.resolution, self.seed = resolution, seed
        self._chunks: list[np.ndarray] = []
        while (path := _chunk_path(folder, seed, resolution, len(self._chunks))).exists():
            self._chunks.append(np.load(path, mmap_mode="r"))
        there = len(self._chunks) * CHUNK_PICTURES
        if there == 0 or (limit or 0) > there:
            raise ValueError(f"{folder} holds {there} pictures of seed {seed} at {resolution} px")
        self._length = limit or there

    def __len__(self) -> int:
        return self._length

    def take(self, indices: Tensor, device: torch.device) -> Tensor:
        """Pictures of the given indices, as `Pictures.take`."""
        rows = [self._chunks[i // CHUNK_PICTURES][i % CHUNK_PICTURES] for i in indices.tolist()]
        return torch.from_numpy(np.stack(rows)).to(device).float().div_(127.5).sub_(1)


class FreshPictures:
    """Pictures rendered when they are asked for; right on a GPU."""

    def __init__(self, *, seed: int, resolution: int = 64, length: int = 1 << 20) -> None:
        self.resolution, self.seed, self._length = resolution, seed, length

    def __len__(self) -> int:
        return self._length

    def take(self, indices: Tensor, device: torch.device) -> Tensor:
        """Pictures of the given indices, as `Pictures.take`."""
        return render(factors_at(self.seed, indices).to(device), self.resolution)


def open_pictures(source: str, *, seed: int, resolution: int, limit: int | None = None) -> Pictures:
    """Pictures of a folder, or of the renderer where `source` is `none`."""
    if source == "none":
        return FreshPictures(seed=seed, resolution=resolution, length=limit or 1 << 20)
    return RenderedPictures(Path(source), seed=seed, resolution=resolution, limit=limit)


def render_bytes(factors: Tensor, resolution: int) -> Tensor:
    """Render to uint8 `[n, 3, r, r]`, as stored."""
    return render(factors, resolution).add_(1).mul_(127.5).round_().to(torch.uint8)


def render_set(folder: Path, *, seed: int, start: int, pictures: int, resolution: int) -> None:
    """Render the chunks that cover some pictures; chunks that exist are left alone.

    Args:
        folder: Where to write; made if missing.
        seed: Stream of the pictures.
        start: First picture, a multiple of `CHUNK_PICTURES`.
        pictures: How many, rounded up to whole chunks.
        resolution: Side in pixels.

    Raises:
        ValueError: `start` is not a multiple of the chunk.
    """
    if start % CHUNK_PICTURES:
        raise ValueError(f"start {start} is not a multiple of {CHUNK_PICTURES}")
    folder.mkdir(parents=True, exist_ok=True)
    first = start // CHUNK_PICTURES
    for chunk in range(first, first + -(-pictures // CHUNK_PICTURES)):
        path = _chunk_path(folder, seed, resolution, chunk)
        if path.exists():
            continue
        factors = sample_factors(seed, chunk * CHUNK_PICTURES, CHUNK_PICTURES)
        partial = path.with_name(f".{os.getpid()}-{path.name}")
        with partial.open("wb") as file:
            np.save(file, render_bytes(factors, resolution).numpy())
        partial.rename(path)


def _chunk_path(folder: Path, seed: int, resolution: int, chunk: int) -> Path:
    return folder / f"portraits-{seed}-{resolution}px-{chunk:05d}.npy"


def main(arguments: list[str]) -> int:
    """`ni train portraits`: pre-render a set."""
    parser = argparse.ArgumentParser(prog="ni train portraits", description="Pre-render portraits.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the set")
    parser.add_argument("--pictures", type=int, default=49152)
    parser.add_argument("--start", type=int, default=0, help="first picture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    render_set(
        options.out,
        seed=options.seed,
        start=options.start,
        pictures=options.pictures,
        resolution=options.resolution,
    )
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

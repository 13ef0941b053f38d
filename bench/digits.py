"""A latent mapper against descent on a small generator of digits: the figures of docs/mapper.md.

For each method the median MSE and LPIPS of whole pictures, and seconds for each picture in batches;
then the same errors of the whole picture where the mapper is shown its left half alone. On unseen
samples of the generator and, with --images, on real pictures in the idx format of MNIST.

Run: python bench/digits.py --bundle FOLDER [--images t10k-images-idx3-ubyte.gz] [--sheet FILE]
"""

from __future__ import annotations

import argparse
import gzip
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ni_core.bundles import Bundle, load_bundle
from ni_core.images import encode_image, grid
from ni_core.inversion import InversionResult, invert
from ni_core.training.mapper_figures import unseen_pictures
from ni_core.training.masks import hide, right_half

BATCH = 32
SHOWN = 12
IDX_HEADER_BYTES = 16
RUNS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("mapper", "mapper", {}),
    ("descent, 20 steps", "optimize", {"steps": 20}),
    ("descent, 100 steps", "optimize", {"steps": 100}),
    ("mapper, then 20 steps", "optimize", {"steps": 20, "start": "mapper"}),
    ("mapper, then 100 steps", "optimize", {"steps": 100, "start": "mapper"}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", help="folder of a model with a mapper")
    parser.add_argument("--images", type=Path, help="real pictures, idx, packed with gzip")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--sheet", type=Path, help="where to write pictures to look at")
    arguments = parser.parse_args()
    if arguments.bundle is None:
        print("left out: docs/mapper.md says how to make the model for --bundle")
        return
    torch.set_num_threads(1)
    bundle = load_bundle(arguments.bundle)
    sets = {"samples": unseen_pictures(bundle, renders=0)["samples"][: arguments.pictures]}
    if arguments.images:
        sets["real pictures"] = read_idx(arguments.images, bundle, arguments.pictures)
    rows = []
    for name, pictures in sets.items():
        print(f"{name}, {len(pictures)} pictures, trunk {bundle.perceptual.trunk}")
        rows += [pictures, *compare(bundle, pictures)]
    if arguments.sheet:
        cells = torch.cat([row[:SHOWN] for row in rows])
        arguments.sheet.write_bytes(encode_image(grid(cells, SHOWN), "png"))


def compare(bundle: Bundle, pictures: Tensor) -> list[Tensor]:
    """Print a line for each method; return the pictures made by the mapper and by descent."""
    made = {}
    for name, method, options in RUNS:
        results = run(bundle, pictures, method, options)
        made[name] = torch.cat([result.images for result in results])
        seconds = sum(result.seconds for result in results) / len(pictures)
        print(f"  {name:24} {errors(bundle, made[name], pictures)}  {seconds:.4f} s")
    halves = hide(pictures, right_half(pictures.shape[-1]))
    completed = torch.cat([result.images for result in run(bundle, halves, "mapper", {})])
    print(f"  {'mapper, left half alone':24} {errors(bundle, completed, pictures)}")
    return [made["mapper"], made["descent, 100 steps"], halves, completed]


def run(
    bundle: Bundle, pictures: Tensor, method: str, options: Mapping[str, object]
) -> list[InversionResult]:
    """Invert in batches."""
    return [invert(bundle, p, method=method, options=options) for p in pictures.split(BATCH)]


def errors(bundle: Bundle, made: Tensor, pictures: Tensor) -> str:
    """Medians, as text."""
    mse = (made - pictures).square().mean(dim=(1, 2, 3)).tolist()
    with torch.no_grad():
        lpips = bundle.perceptual(made, pictures).tolist()
    return f"mse {statistics.median(mse):.4f}  lpips {statistics.median(lpips):.4f}"


def read_idx(path: Path, bundle: Bundle, n: int) -> Tensor:
    """The first pictures of an idx file, as the generator's own: `[n, 3, r, r]` in [-1, 1]."""
    side = bundle.generator.resolution
    raw = bytearray(gzip.decompress(path.read_bytes())[IDX_HEADER_BYTES:][: n * side * side])
    grey = torch.frombuffer(raw, dtype=torch.uint8).view(-1, 1, side, side).float()
    return (grey / 127.5 - 1).expand(-1, 3, -1, -1).contiguous()


if __name__ == "__main__":
    main()

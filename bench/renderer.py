"""Speed of the portraits' renderer, against the embedded generator's synthesis in the same run.

The reference is one synthesis of the bundle's generator (64 px) with the same batch, on the
same device and threads; the ratio tells how many portraits are rendered while it makes one picture.
On a CPU rates are given per second of processor time too: that is what a free core would do, near
enough, while other work runs.

Run: python bench/renderer.py [--device cpu] [--threads 1] [--batch 64] [--seconds 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from ni_core.bundles import load_bundle
from ni_core.generators import sample_z
from ni_core.training.portraits import factors_at, render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    generator = load_bundle("portraits", device=options.device).generator
    z = sample_z(generator, options.batch, seed=1).to(device)
    indices = torch.arange(options.batch)

    def synthesize() -> None:
        with torch.no_grad():
            generator.synthesize(generator.broadcast(generator.map(z)), noise="none")

    cases: dict[str, Callable[[], object]] = {
        "synthesis": synthesize,
        "render 64 px": lambda: render(factors_at(1, indices).to(device), 64),
        "render 128 px": lambda: render(factors_at(1, indices).to(device), 128),
    }
    print(f"{options.device}, {options.threads} threads, batch {options.batch}")
    print(f"{'':14} {'pictures/s':>12} {'per CPU s':>12} {'ratio':>8}")
    reference = 0.0
    for name, case in cases.items():
        wall, processor = rates(case, options.batch, options.seconds, device)
        reference = reference or wall
        print(f"{name:14} {wall:12.1f} {processor:12.1f} {wall / reference:8.2f}")


def rates(
    case: Callable[[], object], pictures: int, seconds: float, device: torch.device
) -> tuple[float, float]:
    """Pictures per second of wall time and of processor time."""
    case()
    wait(device)
    runs, wall, processor = 0, time.monotonic(), time.process_time()
    while time.monotonic() - wall < seconds:
        case()
        wait(device)
        runs += 1
    spent = time.monotonic() - wall, time.process_time() - processor
    return pictures * runs / spent[0], pictures * runs / spent[1]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()

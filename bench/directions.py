"""SeFa over all layers: the first call and later calls, against the bare eigensolver.

Run: python bench/directions.py [--model portraits] [--repeats 20]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from ni_core import find_directions, load_bundle
from ni_core.bundles.memo import Memo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_bundle(arguments.model)
    generator = bundle.generator
    weights = generator.style_weights(range(generator.num_layers)).double()
    gram = weights @ weights.T

    def cold() -> None:
        find_directions(replace(bundle, memo=Memo()), layers="all", k=generator.w_dim)

    def cached() -> None:
        find_directions(bundle, layers="all", k=generator.w_dim)

    bare = median_ms(lambda: torch.linalg.eigh(gram), arguments.repeats)
    first = median_ms(cold, arguments.repeats)
    later = median_ms(cached, arguments.repeats)
    print(f"{arguments.model}: W of {generator.w_dim}, style channels {weights.shape[1]}, 1 thread")
    print(f"bare torch.linalg.eigh, float64    {bare:8.3f} ms   1.00")
    print(f"find_directions, first call        {first:8.3f} ms   {first / bare:.2f}")
    print(f"find_directions, later calls       {later:8.3f} ms   {later / bare:.4f}")


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Median time of a call in ms, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    main()

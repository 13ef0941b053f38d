"""(a) Descent step time, as a multiple of the bare work it cannot avoid.

Bare is the generator and the unmodified lpips package, forward and backward, on the same batch with
the same weights and threads. Both are run alternately and the medians of their CPU time compared,
so a busy machine favours neither. Below 1 is possible: the descent measures its targets once, the
package at every call. Goal: at most 1.10.

(b) The same step with the bundle's feature network, as a multiple of the step without.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ni_core.bundles import Bundle, load_bundle
from ni_core.inversion import StepReport, invert
from ni_core.inversion.soap import FIRST_BASES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of 5 steps each")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bundle = load_bundle(arguments.bundle)
    print(
        f"{bundle.name}, {bundle.generator.resolution} px, trunk {bundle.perceptual.trunk}, "
        f"{arguments.threads} thread(s) of {platform.processor() or platform.machine()}"
    )
    for n in (1, 4):
        step, with_features, bare = measure(bundle, n, arguments.rounds)
        print(
            f"batch {n}: step {step * 1e3:.1f} ms, bare generator + LPIPS {bare * 1e3:.1f} ms, "
            f"ratio {step / bare:.2f} (goal: at most 1.10)"
        )
        if bundle.features is not None:
            print(
                f"batch {n}: step with features {with_features * 1e3:.1f} ms, "
                f"{with_features / step:.2f} times the step without"
            )


def measure(bundle: Bundle, n: int, rounds: int, steps: int = 5) -> tuple[float, float, float]:
    """Median CPU seconds of a descent step, of one with features if there are any, and of the bare
    work, measured in turns."""
    targets = sample(bundle, n)
    bare = bare_work(bundle, targets)
    step_s: list[float] = []
    features_s: list[float] = []
    bare_s: list[float] = []
    for _ in range(rounds):
        step_s.append(step_seconds(bundle, targets, steps, {"features_coefficient": 0}))
        features_s.append(step_seconds(bundle, targets, steps, {}))
        for _ in range(steps):
            with timed(bare_s):
                bare()
    return statistics.median(step_s), statistics.median(features_s), statistics.median(bare_s)


def step_seconds(bundle: Bundle, targets: Tensor, steps: int, options: dict[str, float]) -> float:
    """CPU seconds of a step, mean over the last ones of a run, in which SOAP has its bases.

    From callback to callback: whole steps, without what is before and after all. Bases are renewed
    in one of five steps.
    """
    times: list[float] = []

    def note(report: StepReport) -> None:
        times.append(time.process_time())

    run: dict[str, float] = {"steps": FIRST_BASES + steps, "starts": 1, "shared_part": 0}
    invert(bundle, targets, method="optimize", options=run | options, on_step=note)
    return (times[-1] - times[-1 - steps]) / steps


def bare_work(bundle: Bundle, targets: Tensor) -> Callable[[], Tensor]:
    w_plus = bundle.generator.broadcast(bundle.generator.w_avg[None]).detach()
    w_plus = w_plus.repeat(len(targets), 1, 1).requires_grad_()

    def run() -> Tensor:
        images = bundle.generator.synthesize(w_plus)
        distance = bundle.perceptual.network(images, targets)
        return torch.autograd.grad(distance.sum(), w_plus)[0]

    return run


def sample(bundle: Bundle, n: int) -> Tensor:
    z = torch.randn(n, bundle.generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return bundle.generator.synthesize(bundle.generator.broadcast(bundle.generator.map(z), 0.7))


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    began = time.process_time()
    yield
    seconds.append(time.process_time() - began)


if __name__ == "__main__":
    main()

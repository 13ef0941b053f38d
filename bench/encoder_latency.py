"""What an encoder's inversion costs: over HTTP against its own forward pass, and in batches.

Starts a private Redis, `ni serve` and one warm worker, each on one thread. Prints

    latency      p50 of POST /invert with Prefer: wait, a new picture each time, one client, with
                 metrics and without, divided by p50 of the encoder's own forward pass on one
                 picture
    throughput   pictures per second of `invert` at batch 1, 8 and 32, by the encoder and by
                 descent, in one process

The two sides of each comparison are measured in turns, so that a busy machine slows both.

With --large the model is a StyleGAN2 of 256 px with the e4e of its paper, an IR-SE-50, of random
weights, and only the latency is printed.

Run: python bench/encoder_latency.py [--model portraits] [--method e4e] [--pictures 60] [--large]
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from _large_model import write_large_model
from _processes import serving

from ni_core import load_bundle
from ni_core.bundles import Bundle
from ni_core.images import encode_image
from ni_core.inversion import invert
from ni_core.inversion.encode import encoder_of

BATCHES = (1, 8, 32)
DESCENT_STEPS = 100
ROUNDS = 5
GOAL = 3.0

KEPT_S = 3.0
"""The service closes a connection that was not used for some seconds; from here on it is opened
anew."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--method", default="e4e")
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        if arguments.large:
            arguments.model_dir = Path(name) / "models"
            arguments.model = write_large_model(arguments.model_dir).name
        show(arguments)


def show(arguments: argparse.Namespace) -> None:
    bundle = load_bundle(arguments.model, model_directory=arguments.model_dir)
    print(f"{bundle.name}, {bundle.generator.resolution} px, {arguments.method}, 1 thread")
    show_latency(bundle, arguments)
    if not arguments.large:
        show_throughput(bundle, arguments.method)


def show_latency(bundle: Bundle, arguments: argparse.Namespace) -> None:
    """Medians of all, in turns."""
    encoder = encoder_of(bundle, arguments.method)
    pictures = samples(bundle, 2 * (arguments.pictures + ROUNDS))
    bodies = iter([encode_image(picture, "png") for picture in pictures])
    whole = partial(invert, bundle, pictures[:1], method=arguments.method)
    with serving(bundle.name, arguments.model_dir, worker=True) as port:
        client = Client(port, arguments.method)
        runs: dict[str, Callable[[], object]] = {
            "forward pass": partial(encoder.encode, pictures[:1], bundle.generator),
            "invert()": whole,
            "invert(), metrics=none": partial(whole, options={"metrics": "none"}),
            "POST /invert": lambda: client.invert(next(bodies)),
            "POST /invert, metrics=none": lambda: client.invert(next(bodies), "&metrics=none"),
        }
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            times_s(run, ROUNDS)
        for _ in range(ROUNDS):
            for name, run in runs.items():
                taken[name] += times_s(run, arguments.pictures // ROUNDS)
    reference = statistics.median(taken["forward pass"])
    for name, seconds in taken.items():
        p50 = statistics.median(seconds)
        goal = f"   goal <= {GOAL:g}" if name.startswith("POST") else ""
        print(f"{name:<26} p50 {p50 * 1000:8.2f} ms   {p50 / reference:5.2f}{goal}")


def show_throughput(bundle: Bundle, method: str) -> None:
    """Pictures per second by batch; the reference is descent on one picture at a time."""
    plain = {"steps": DESCENT_STEPS, "starts": 1, "patience": 0}
    runs: dict[str, Callable[[torch.Tensor], object]] = {
        method: lambda pictures: invert(bundle, pictures, method=method),
        f"optimize, {DESCENT_STEPS} steps": lambda pictures: invert(
            bundle, pictures, method="optimize", options=plain
        ),
    }
    for name, run in runs.items():
        reference = None
        for size in BATCHES:
            pictures = samples(bundle, size)
            run(pictures[:1])
            seconds = statistics.median(times_s(partial(run, pictures), 3))
            reference = reference or 1 / seconds
            rate = size / seconds
            print(f"{name:<22} batch {size:<3} {rate:8.2f} pictures/s   {rate / reference:.2f}")


class Client:
    """A client that waits for each answer."""

    def __init__(self, port: int, method: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._path = f"/invert?method={method}"
        self._used_s = time.monotonic()

    def invert(self, picture: bytes, options: str = "") -> None:
        """Send a picture and wait for its latent."""
        headers = {"Content-Type": "image/png", "Prefer": "wait=30"}
        if time.monotonic() - self._used_s > KEPT_S:
            self._connection.close()
        self._connection.request("POST", self._path + options, picture, headers)
        answer = self._connection.getresponse()
        job = json.loads(answer.read())
        self._used_s = time.monotonic()
        if answer.status != 200 or job["status"] != "succeeded":
            raise SystemExit(f"POST /invert answered {answer.status}: {job}")


def times_s(call: Callable[[], object], number: int) -> list[float]:
    return list(_times_s(call, number))


def _times_s(call: Callable[[], object], number: int) -> Iterator[float]:
    for _ in range(number):
        started_s = time.perf_counter()
        call()
        yield time.perf_counter() - started_s


@torch.inference_mode()
def samples(bundle: Bundle, n: int) -> torch.Tensor:
    """Pictures of the generator's own, no two alike."""
    generator = bundle.generator
    z = torch.randn(n, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return generator.synthesize(generator.broadcast(generator.map(z), psi=0.7)).clamp(-1, 1)


if __name__ == "__main__":
    main()

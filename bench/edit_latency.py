"""What a slider costs: `POST /edit` over real HTTP against bare synthesis in the same run.

Starts a private Redis and `ni serve`, each render on one thread. Prints

    latency      p50 of POST /edit, one client, minus p50 of bare synthesis of one picture
    throughput   edits per second with 16 clients, divided by the best batched synthesis rate

The two sides of each comparison are measured in turns, so that a busy machine slows both.

Run: python bench/edit_latency.py [--model portraits] [--model-dir DIR] [--edits 300]
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from _processes import serving

from ni_core import load_bundle
from ni_core.generators import Generator

BATCHES = (1, 2, 4, 8, 16, 32)
ROUNDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--accept", default="image/png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_bundle(arguments.model, model_directory=arguments.model_dir)
    with serving(arguments.model, arguments.model_dir) as port:
        slider = Slider(port, arguments.model, arguments.accept)
        print(f"{arguments.model}, {bundle.generator.resolution} px, {arguments.accept}, 1 thread")
        show_latency(bundle.generator, slider, arguments.edits)
        show_throughput(bundle.generator, slider, arguments.edits, arguments.clients)


def show_latency(generator: Generator, slider: Slider, edits: int) -> None:
    """Median of both, in turns."""
    bare: list[float] = []
    served: list[float] = []
    edit = slider.connect()
    w_plus = random_w_plus(generator, 1)
    for _ in range(ROUNDS):
        bare += times_s(partial(synthesize, generator, w_plus), edits // ROUNDS)
        served += times_s(edit, edits // ROUNDS)
    reference, whole = (statistics.median(times) * 1000 for times in (bare, served))
    print(f"bare synthesis, p50        {reference:8.2f} ms   1.00")
    print(f"POST /edit, p50            {whole:8.2f} ms   {whole / reference:.2f}")
    print(f"difference                 {whole - reference:8.2f} ms   goal <= 6 ms")


def show_throughput(generator: Generator, slider: Slider, edits: int, clients: int) -> None:
    """Best rate of each over rounds, in turns."""
    rates: dict[int, list[float]] = {size: [] for size in BATCHES}
    served: list[float] = []
    for _ in range(3):
        for size in BATCHES:
            w_plus = random_w_plus(generator, size)
            times = times_s(partial(synthesize, generator, w_plus), 5)
            rates[size].append(size / statistics.median(times))
        served.append(rate_of(slider, clients, edits))
    medians = {size: statistics.median(found) for size, found in rates.items()}
    best = max(medians, key=lambda size: medians[size])
    rate = statistics.median(served)
    print(f"best synthesis, batch {best:<2}   {medians[best]:8.1f} /s   1.00")
    ratio = rate / medians[best]
    print(f"POST /edit, {clients} clients     {rate:8.1f} /s   {ratio:.2f}   goal >= 0.7")


def rate_of(slider: Slider, clients: int, edits: int) -> float:
    """Edits per second of clients that each drag their slider as fast as they are answered."""
    calls = [slider.connect() for _ in range(clients)]
    ready = threading.Barrier(clients + 1)
    each = max(edits // clients, 5)

    def drag(edit: Callable[[], None]) -> None:
        edit()
        ready.wait()
        for _ in range(each):
            edit()

    threads = [threading.Thread(target=drag, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    ready.wait()
    started_s = time.perf_counter()
    for thread in threads:
        thread.join()
    return each * clients / (time.perf_counter() - started_s)


class Slider:
    """A latent in the service, and clients that edit it with ever new weights."""

    def __init__(self, port: int, model: str, accept: str) -> None:
        self.port = port
        self.accept = accept
        connection = http.client.HTTPConnection("127.0.0.1", port)
        answer = post(connection, "/latents", {"model": model, "seed": 1, "space": "w+"}, "*/*")
        self.latent = json.loads(answer)["id"]
        connection.close()

    def connect(self) -> Callable[[], None]:
        """A client of its own connection; each call is one edit."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        weight = 0.0

        def edit() -> None:
            nonlocal weight
            weight = (weight + 0.37) % 5
            weights = {"0": weight, "1": -weight, "2": 1.0}
            post(connection, "/edit", {"latent": self.latent, "weights": weights}, self.accept)

        edit()
        return edit


def post(connection: http.client.HTTPConnection, path: str, body: object, accept: str) -> bytes:
    headers = {"Content-Type": "application/json", "Accept": accept}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"{path} answered {answer.status}: {content.decode()}")
    return content


def times_s(call: Callable[[], object], number: int) -> list[float]:
    times = []
    for _ in range(number):
        started_s = time.perf_counter()
        call()
        times.append(time.perf_counter() - started_s)
    return times


@torch.inference_mode()
def synthesize(generator: Generator, w_plus: torch.Tensor) -> torch.Tensor:
    return generator.synthesize(w_plus, noise="const")


def random_w_plus(generator: Generator, number: int) -> torch.Tensor:
    with torch.inference_mode():
        return generator.broadcast(generator.map(torch.randn(number, generator.z_dim)))


if __name__ == "__main__":
    main()

"""Time from an accepted job to its first step in a warm worker, and what a second job loads.

Starts a private Redis and one `python -m worker`, queues jobs one after the other and reads the
times that Redis gave to their events. A job is accepted when its record is written; its first
step begins one step's time before its first event. The reference is what Redis itself takes to
hand an entry from one process to another that waits for it.

Run: python bench/queue_latency.py [--model portraits] [--jobs 30]
Without --model it takes `portraits` where that is installed, else a 16 px bundle.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ni_core.bundles import ModelCache, write_tiny_bundle
from ni_core.images import encode_image
from service.private_redis import answers_ping, find_redis_server, redis_command
from worker.connection import connect
from worker.contracts import InversionRequest, JobRecord
from worker.queue import JobQueue
from worker.settings import Settings
from worker.store import Store

GOAL_MS = 30.0
STEPS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--jobs", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        write_tiny_bundle(Path(directory))
        models = ModelCache([Path(directory)])
        known = models.names()
        model = arguments.model or ("portraits" if "portraits" in known else "tiny")
        with redis_on(Path(directory) / "redis.sock", Path(directory)) as url:
            # Events of every step, and no previews: the steps' times are read from them.
            settings = Settings.model_validate(
                {
                    "redis_url": url,
                    "model_dir": Path(directory),
                    "device": "cpu",
                    "preload": (model,),
                    "progress_interval_s": 0,
                    "control_interval_s": 0,
                    "preview_interval_s": 0,
                }
            )
            queue = JobQueue(Store(connect(url), settings))
            with worker_of(settings, queue.store):
                measure(queue, models, model, arguments.jobs)


def measure(queue: JobQueue, models: ModelCache, model: str, jobs: int) -> None:
    asked = list(requests(queue.store, models, model, jobs + 2))
    for request in asked[:2]:
        timed(queue, request)
    loads = queue.store.workers()[0].model_loads
    times = [timed(queue, request) for request in asked[2:]]
    waits = sorted(wait for wait, _ in times)
    p50, p90 = statistics.median(waits), waits[int(0.9 * (len(waits) - 1))]
    step_ms = statistics.median(step for _, step in times)
    reference = hand_over_ms(queue.store)
    print(f"{model}, {jobs} jobs, 1 numeric thread")
    print(f"accepted to first step   p50 {p50:7.2f} ms   p90 {p90:7.2f} ms   goal {GOAL_MS:g} ms")
    print(f"Redis' own hand-over     p50 {reference:7.2f} ms   ratio {p50 / reference:.1f}")
    print(f"one step                 p50 {step_ms:7.2f} ms")
    print(f"models loaded before the first timed job {loads}, after the last one ", end="")
    print(queue.store.workers()[0].model_loads)


def requests(
    store: Store, models: ModelCache, model: str, count: int
) -> Iterator[InversionRequest]:
    generator = models.get(model).generator
    for seed in range(count):
        z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            image = generator.synthesize(generator.broadcast(generator.map(z), psi=0.7))[0]
        yield InversionRequest(
            model=model,
            generator=generator.fingerprint,
            method="optimize",
            options={"steps": STEPS, "starts": 1},  # more would make the first steps longer
            images=(store.put_image(encode_image(image.clamp(-1, 1), "png")),),
        )


def timed(queue: JobQueue, request: InversionRequest) -> tuple[float, float]:
    """Milliseconds from acceptance to the first step, and of one step."""
    record = queue.enqueue(request)
    wait_for(lambda: queue.store.read_job(record.id).finished, pause_s=0.1)
    done: JobRecord = queue.store.read_job(record.id)
    assert done.status == "succeeded", done.error
    events = [event for event in queue.store.events(record.id) if event.name == "progress"]
    moments = [int(event.id.partition("-")[0]) for event in events]
    step_ms = statistics.median(after - before for before, after in itertools.pairwise(moments))
    return moments[0] - step_ms - record.created_at.timestamp() * 1000, step_ms


def hand_over_ms(store: Store, times: int = 50) -> float:
    """Median time from a push to its arrival at a client that waits for it."""
    arrived: list[float] = []
    receiver = connect(store.settings.redis_url)

    def receive() -> None:
        for _ in range(times):
            receiver.blpop(["bench"], timeout=5)
            arrived.append(time.perf_counter())

    thread = threading.Thread(target=receive)
    thread.start()
    sent: list[float] = []
    for _ in range(times):
        time.sleep(0.01)
        sent.append(time.perf_counter())
        store.redis.rpush("bench", "entry")
    thread.join()
    return 1000 * statistics.median(b - a for a, b in zip(sent, arrived, strict=True))


@contextmanager
def redis_on(path: Path, directory: Path) -> Iterator[str]:
    process = subprocess.Popen(
        redis_command(find_redis_server(), path, directory, directory / "redis.log")
    )
    try:
        wait_for(lambda: answers_ping(path))
        yield f"unix://{path}?db=0"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def worker_of(settings: Settings, store: Store) -> Iterator[None]:
    values = settings.model_dump(mode="json", exclude_none=True)
    ours = {
        f"NI_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
    environment = {**os.environ, **ours, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "worker"], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: any(worker.state == "idle" for worker in store.workers()))
        yield
    finally:
        process.terminate()
        process.wait()


def wait_for(ready: Callable[[], bool], *, pause_s: float = 0.01, timeout_s: float = 300.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {timeout_s:g} s")
        time.sleep(pause_s)  # rarely: the worker needs the processor


if __name__ == "__main__":
    main()

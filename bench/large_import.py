"""What a StyleGAN2 of 1024 px costs: seconds and peak memory of import, first and later edits.

Writes a file of random weights in the layout of rosinality/stylegan2-pytorch, full width, and
imports it into a model directory that is deleted afterwards. Each phase runs in a process of its
own, so that the peak is its own: importing the packages alone, reading the file, importing it as a
bundle, and editing pictures of that bundle. Linux and macOS only.

Run: python bench/large_import.py [--resolution 1024] [--edits 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ni_core import Latent, edit, find_directions, load_bundle
from ni_core.bundles.importer import Sources, import_bundle
from ni_core.checkpoints import read_generator

WIDTHS = (512, 512, 512, 512, 512, 256, 128, 64, 32)
"""Channels at 4, 8, ..., 1024 px."""

NAME = "large"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--edits", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--phase", choices=list(PHASES), help="used by the benchmark itself")
    parser.add_argument("--folder", type=Path, help="used by the benchmark itself")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.phase:
        figures = PHASES[arguments.phase](arguments.folder, arguments.edits)
        print(json.dumps({**figures, "peak": peak_mib()}))
        return
    with tempfile.TemporaryDirectory() as name:
        write_checkpoint(Path(name) / "g.pt", arguments.resolution)
        size = (Path(name) / "g.pt").stat().st_size / 2**20
        print(f"StyleGAN2, {arguments.resolution} px, file of {size:.0f} MiB")
        for phase in PHASES:
            show(phase, run(phase, name, arguments))


def run(phase: str, folder: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run a phase in a process of its own."""
    command = [sys.executable, __file__, "--phase", phase, "--folder", folder]
    command += ["--edits", str(arguments.edits), "--threads", str(arguments.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def show(phase: str, figures: dict[str, float]) -> None:
    peak = figures.pop("peak")
    times = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in figures.items())
    print(f"{phase:10} peak {peak:6.0f} MiB   {times}", flush=True)


def nothing(folder: Path, edits: int) -> dict[str, float]:
    """The packages alone: what the other phases cannot avoid."""
    return {}


def read(folder: Path, edits: int) -> dict[str, float]:
    return {"read and convert": seconds_of(lambda: read_generator(folder / "g.pt"))}


def import_file(folder: Path, edits: int) -> dict[str, float]:
    sources = Sources(generator=folder / "g.pt")
    return {"import": seconds_of(lambda: import_bundle(NAME, sources, directory=folder / "models"))}


def edit_pictures(folder: Path, edits: int) -> dict[str, float]:
    """The first edit pays for loading, directions and whatever is prepared on first use."""
    start = time.perf_counter()
    bundle = load_bundle(NAME, model_directory=folder / "models")
    loaded = time.perf_counter()
    generator = bundle.generator
    (direction,) = find_directions(bundle, layers="0-5", k=1)
    w = generator.map(torch.randn(1, generator.z_dim))[0]
    latent = Latent(w, "w", generator.fingerprint)

    def render(weight: float) -> None:
        edited = edit(latent, {direction: weight}, generator=generator)
        with torch.inference_mode():
            generator.synthesize(edited.tensor[None])

    render(1.0)
    first = time.perf_counter()
    later = [seconds_of(lambda: render(0.5)) for _ in range(edits)]
    return {
        "load": loaded - start,
        "first edit with directions": first - loaded,
        "later edits": statistics.median(later),
    }


PHASES = {"packages": nothing, "read": read, "import": import_file, "edit": edit_pictures}


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def write_checkpoint(path: Path, resolution: int) -> None:
    torch.manual_seed(0)
    widths = WIDTHS[: int(math.log2(resolution)) - 1]
    tensors = {"input.input": torch.randn(1, widths[0], 4, 4)}
    for index in range(1, 9):
        tensors[f"style.{index}.weight"] = torch.randn(512, 512) * 100
        tensors[f"style.{index}.bias"] = torch.zeros(512)
    for index in range(2 * len(widths) - 1):
        name, side = f"convs.{index - 1}" if index else "conv1", 4 << (index + 1) // 2
        inputs, outputs = widths[index // 2], widths[(index + 1) // 2]
        tensors |= convolution(name, inputs, outputs, 3)
        tensors[f"{name}.noise.weight"] = torch.full((1,), 0.1)
        tensors[f"{name}.activate.bias"] = torch.zeros(outputs)
        tensors[f"noises.noise_{index}"] = torch.randn(1, 1, side, side)
    for index, inputs in enumerate(widths):
        name = f"to_rgbs.{index - 1}" if index else "to_rgb1"
        tensors |= convolution(name, inputs, 3, 1)
        tensors[f"{name}.conv.weight"] *= 0.3
        tensors[f"{name}.bias"] = torch.zeros(1, 3, 1, 1)
    torch.save({"g_ema": tensors}, path)


def convolution(name: str, inputs: int, outputs: int, side: int) -> dict[str, Tensor]:
    return {
        f"{name}.conv.weight": torch.randn(1, outputs, inputs, side, side),
        f"{name}.conv.modulation.weight": torch.randn(inputs, 512),
        f"{name}.conv.modulation.bias": torch.ones(inputs),
    }


if __name__ == "__main__":
    main()

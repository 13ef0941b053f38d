"""A step of a regressor's training in bfloat16, as a multiple of the same step in float32.

`ni_core.training.precision` chooses between the two by asking oneDNN; the choice is right where it
is printed beside the faster one. Medians of wall time of steps in turns.
"""

import argparse
import platform
import statistics
import time

import torch

from ni_core.training.precision import working_type
from ni_core.training.residual_regressor import ResidualRegressor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cpu")
    layout = torch.channels_last
    network = ResidualRegressor().to(memory_format=layout)  # type: ignore[call-overload]
    pictures = torch.randn(arguments.batch, 3, 64, 64).contiguous(memory_format=layout)
    seconds: dict[torch.dtype, list[float]] = {torch.bfloat16: [], torch.float32: []}
    for _ in range(arguments.rounds + 1):
        for dtype, measured in seconds.items():
            began = time.monotonic()
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                read = network(pictures)
            read.float().square().mean().backward()
            measured.append(time.monotonic() - began)
    half_s, single_s = (statistics.median(measured[1:]) for measured in seconds.values())
    print(
        f"{arguments.threads} thread(s) of {platform.processor() or platform.machine()}, "
        f"{torch.backends.cpu.get_cpu_capability()}: bfloat16 {arguments.batch / half_s:.1f}, "
        f"float32 {arguments.batch / single_s:.1f} pictures/s, "
        f"ratio of times {half_s / single_s:.2f}; chosen: {working_type(device)}"
    )


if __name__ == "__main__":
    main()

"""What a training ran on, as manifests and checkpoints write it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

Hardware = dict[str, str | int]


def hardware(device: torch.device) -> Hardware:
    """Name the machine: `device`, `processor`, `threads` and `torch`.

    Args:
        device: Where the training runs.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "device": name,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """Model of the processor; Linux says it in /proc/cpuinfo alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())

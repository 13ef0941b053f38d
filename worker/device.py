"""Where networks run."""

import torch


def resolve_device(name: str) -> str:
    """Turn "auto" into the first GPU, or the CPU where there is none."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return str(torch.device(name))

"""Where descents end, by the betas and the learning rate of Adam.

Unseen renders of portraits, 200 steps in W+ from the mean, without a prior; of each pair the mean
over pictures of the lowest loss, PSNR in dB and LPIPS on the bundle's trunk.
"""

import argparse
import platform
from statistics import fmean

import torch
from torch import Tensor

from ni_core.bundles import Bundle, load_bundle
from ni_core.evaluation.inversion_report import invert_all
from ni_core.evaluation.reading import render_all, unseen_factors
from ni_core.inversion import updates

TRIALS = (
    ((0.9, 0.999), 0.2),
    ((0.9, 0.99), 0.2),
    ((0.9, 0.99), 0.3),
    ((0.9, 0.95), 0.3),
    ((0.8, 0.9), 0.3),
    ((0.95, 0.95), 0.3),
    ((0.9, 0.9), 0.4),
    ((0.9, 0.9), 0.3),
    ((0.9, 0.9), 0.2),
)
"""Betas and learning rates: the default until they were compared first, today's last."""

OPTIONS = {"optimizer": "adam", "prior_coefficient": 0, "space": "w+", "starts": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bundle = load_bundle(arguments.bundle)
    renders = render_all(unseen_factors(arguments.pictures, seed=arguments.seed), bundle)
    print(
        f"{bundle.name}, {arguments.pictures} renders of seed {arguments.seed}, "
        f"{arguments.steps} steps, {platform.processor() or platform.machine()}, "
        f"torch {torch.__version__}"
    )
    for betas, rate in TRIALS:
        loss, psnr, lpips = measure(bundle, renders, arguments.steps, betas, rate)
        print(f"betas {betas}, rate {rate}: {loss:.4f}, {psnr:.2f} dB, {lpips:.4f}", flush=True)


def measure(
    bundle: Bundle, renders: Tensor, steps: int, betas: tuple[float, float], rate: float
) -> tuple[float, float, float]:
    """Means of the lowest loss, PSNR and LPIPS."""
    updates.ADAM_BETAS = betas
    options = OPTIONS | {"steps": steps, "learning_rate": rate}
    results = invert_all(bundle, renders, options)
    metrics = [one for result in results for one in result.metrics]
    return (
        fmean(min(history) for result in results for history in result.history),
        fmean(one["psnr"] for one in metrics),
        fmean(one["lpips"] for one in metrics),
    )


if __name__ == "__main__":
    main()

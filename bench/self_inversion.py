"""How close inversion comes: pictures the generator made, and renders it never saw.

Goal: at least 35 dB PSNR, median of 16 generated pictures, w+ and 200 steps.
"""

import argparse
import platform
import statistics
from pathlib import Path

import torch
from torch import Tensor

from ni_core.bundles import Bundle, load_bundle
from ni_core.images import encode_image, grid
from ni_core.inversion import InversionResult, invert
from ni_core.training.picture_set import TEST_START
from ni_core.training.portraits import factors_at, render

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument("--pictures", type=int, default=16, help="of each kind")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--space", default="w+", choices=("z", "w", "w+"))
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, help="PNG of targets (odd rows) and results (even rows)"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bundle = load_bundle(arguments.bundle)
    options = {"steps": arguments.steps, "space": arguments.space}
    options |= dict(text.split("=", 1) for text in arguments.option)
    print(
        f"{bundle.name} {bundle.generator.fingerprint}, {bundle.generator.resolution} px, "
        f"trunk {bundle.perceptual.trunk}, seed {arguments.seed}, {options}, "
        f"{arguments.threads} thread(s) of {platform.processor() or platform.machine()}"
    )
    rows: list[Tensor] = []
    for kind, make in (("generated", generated), ("unseen renders", unseen)):
        targets = make(bundle, arguments.pictures, arguments.seed)
        results = [invert(bundle, batch, options=options) for batch in targets.split(BATCH)]
        print(f"{kind}: {summary(results)}")
        rows += pair_rows(targets, torch.cat([result.images for result in results]))
    if arguments.out is not None:
        arguments.out.write_bytes(encode_image(grid(torch.cat(rows), columns=BATCH), "png"))


def generated(bundle: Bundle, n: int, seed: int) -> Tensor:
    """Pictures of the generator itself, not truncated."""
    generator = bundle.generator
    z = torch.randn(n, generator.z_dim, generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        return generator.synthesize(generator.broadcast(generator.map(z))).clamp(-1, 1)


def unseen(bundle: Bundle, n: int, seed: int) -> Tensor:
    """Renders that no training run may use."""
    indices = torch.arange(TEST_START, TEST_START + n)
    return render(factors_at(seed, indices), bundle.generator.resolution)


def summary(results: list[InversionResult]) -> str:
    metrics = [one for result in results for one in result.metrics]

    def of(key: str) -> list[float]:
        return sorted(one[key] for one in metrics)  # type: ignore[literal-required]

    seconds = sum(result.seconds for result in results) / len(metrics)
    psnr, lpips, ssim = of("psnr"), of("lpips"), of("ssim")
    return (
        f"PSNR median {statistics.median(psnr):.1f} dB (worst {psnr[0]:.1f}, best {psnr[-1]:.1f}), "
        f"LPIPS median {statistics.median(lpips):.4f} (worst {lpips[-1]:.4f}), "
        f"SSIM median {statistics.median(ssim):.3f}, {seconds:.1f} s for each picture"
    )


def pair_rows(targets: Tensor, images: Tensor) -> list[Tensor]:
    """Targets and results in alternating rows."""
    pairs = zip(targets.split(BATCH), images.clamp(-1, 1).split(BATCH), strict=True)
    return [row for pair in pairs for row in pair]


if __name__ == "__main__":
    main()

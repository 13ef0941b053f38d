"""`ni evaluate generator`: generated pictures against renders that no training saw."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ni_core.bundles.bundle import Bundle, load_bundle
from ni_core.evaluation.distances import (
    RandomFeatures,
    frechet_distance,
    precision_recall,
    sharpness,
    spread_ratio,
)
from ni_core.images import encode_image, grid
from ni_core.training.picture_set import TEST_START
from ni_core.training.portraits import FACTOR_NAMES, render, sample_factors
from ni_core.training.regressor import SqueezeNetRegressor

BATCH = 64
"""Pictures worked on at once."""

SHEET_PICTURES, SHEET_COLUMNS = 60, 10
"""Pictures on a contact sheet and in each of its rows."""


def generate(bundle: Bundle, n: int, *, seed: int, psi: float = 1.0) -> Tensor:
    """Pictures `[n, 3, r, r]` of the bundle's generator, clamped to [-1, 1]."""
    generator = bundle.generator
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(n, generator.z_dim, generator=random).to(generator.device)
    with torch.no_grad():
        w_plus = generator.broadcast(generator.map(z), psi)
        parts = [generator.synthesize(part, noise="none") for part in w_plus.split(BATCH)]
    return torch.cat(parts).clamp(-1, 1)


def unseen(n: int, resolution: int, *, seed: int, part: int, device: torch.device) -> Tensor:
    """The `part`-th set of `n` renders beyond every training set, `[n, 3, r, r]`."""
    factors = sample_factors(seed, TEST_START + part * n, n).to(device)
    return render(factors, resolution)


def compare(
    real: Tensor, others: Tensor, features: dict[str, Callable[[Tensor], Tensor]]
) -> dict[str, float]:
    """Figures of `others` against `real`, both `[n, 3, r, r]`.

    Args:
        real: Real pictures.
        others: Generated pictures, or other real ones for the value to be hoped for.
        features: Feature spaces by name; each takes pictures to `[n, d]`.

    Returns:
        `fd_*`, `precision_*` and `recall_*` for every feature space, and `sharpness`, the
        ratio of the two sets' sharpness. Fréchet distances are divided by the total
        variance of the real features, so they have no unit: 0 = equal.
    """
    figures: dict[str, float] = {}
    for name, space in features.items():
        a, b = _in_parts(space, real), _in_parts(space, others)
        scale = a.double().var(dim=0).sum().item()
        figures[f"fd_{name}"] = frechet_distance(a, b) / scale
        figures[f"precision_{name}"], figures[f"recall_{name}"] = precision_recall(a, b)
    figures["sharpness"] = sharpness(others) / sharpness(real)
    return {name: round(value, 4) for name, value in figures.items()}


def _in_parts(function: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([function(part) for part in pictures.split(BATCH)])


def report(
    bundle: Bundle, reader: SqueezeNetRegressor, *, samples: int, seed: int
) -> dict[str, Any]:
    """Measure a bundle's generator.

    Args:
        bundle: What to measure.
        reader: Reads factors; must not be the discriminator's own network.
        samples: Pictures in each of the three sets: generated, unseen, unseen again.
        seed: Stream of the renders; the latents' seed too.

    Returns:
        Figures for the manifest: generated against real, real against real, and the
        spread of every factor as read from generated and from real pictures.
    """
    device, resolution = bundle.device, bundle.generator.resolution
    real, again = (unseen(samples, resolution, seed=seed, part=i, device=device) for i in (0, 1))
    made = generate(bundle, samples, seed=seed)
    spaces: dict[str, Callable[[Tensor], Tensor]] = {
        "random": RandomFeatures().to(device),
        "trunk": _pooled(reader),
    }
    spread = spread_ratio(_in_parts(reader, real), _in_parts(reader, made))
    return {
        "samples": samples,
        "seed": seed,
        "generated": compare(real, made, spaces),
        "real_against_real": compare(real, again, spaces),
        "spread": {
            name: round(value, 3) for name, value in zip(FACTOR_NAMES, spread.tolist(), strict=True)
        },
    }


def _pooled(reader: SqueezeNetRegressor) -> Callable[[Tensor], Tensor]:
    """The trunk's last features `[n, 512]`, averaged over positions."""
    return lambda pictures: reader.extract(pictures).mean(dim=(2, 3))


def write_sheets(bundle: Bundle, folder: Path, *, seed: int) -> None:
    """Write samples at psi 1 and 0.7 and unseen renders as contact sheets."""
    folder.mkdir(parents=True, exist_ok=True)
    resolution = bundle.generator.resolution
    sheets = {
        "samples": generate(bundle, SHEET_PICTURES, seed=seed),
        "samples_psi_0.7": generate(bundle, SHEET_PICTURES, seed=seed, psi=0.7),
        "renders": unseen(SHEET_PICTURES, resolution, seed=seed, part=0, device=bundle.device),
    }
    for name, pictures in sheets.items():
        sheet = grid(pictures.cpu(), columns=SHEET_COLUMNS)
        (folder / f"{name}.png").write_bytes(encode_image(sheet))


def main(arguments: list[str]) -> int:
    """Measure a bundle and write its contact sheets."""
    parser = argparse.ArgumentParser(prog="ni evaluate generator", description=__doc__)
    parser.add_argument("--bundle", default="portraits", help="name or folder")
    parser.add_argument("--reader", type=Path, help="trunk.safetensors of `ni train features`")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--sheets", type=Path, help="write contact sheets into this folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    bundle = load_bundle(options.bundle, device=options.device)
    if options.sheets:
        write_sheets(bundle, options.sheets, seed=options.seed)
    if options.reader:
        reader = SqueezeNetRegressor(bundle.generator.resolution)
        reader.load_state_dict(load_file(options.reader))
        reader.to(bundle.device).eval()
        figures = report(bundle, reader, samples=options.samples, seed=options.seed)
        text = json.dumps(figures, indent=2)
        print(text)
        if options.out:
            options.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))

"""`ni strip`: a film strip that shows what directions do."""

import argparse
from pathlib import Path

from service.commands import Commands
from service.commands.invert import picture_format
from service.commands.loading import add_model_option, open_bundle, write

BATCH = 4
"""Cells rendered at once."""


def add_to(commands: Commands) -> None:
    """Add `ni strip`."""
    parser = commands.add_parser(
        "strip",
        help="draw what directions do: a row each, weights across its range",
        description="Draw what directions do to one sampled picture: a row per direction, the "
        "columns from the low to the high end of its calibrated range.",
    )
    add_model_option(parser)
    parser.add_argument("--method", default="sefa", help="how they are found (%(default)s)")
    parser.add_argument("--layers", default="all", help="rows of W+ (%(default)s)")
    parser.add_argument("--k", type=int, default=6, help="directions (%(default)s)")
    parser.add_argument("--columns", type=int, default=7, help="weights (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the picture (%(default)s)")
    parser.add_argument(
        "--psi", type=float, default=0.7, help="its truncation, where there is W (%(default)s)"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("directions.png"))
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Render all cells and write the sheet."""
    import torch

    from ni_core.directions import find_directions
    from ni_core.editing import edit
    from ni_core.generators import sample_z
    from ni_core.images import encode_image, grid
    from ni_core.latents import Latent

    bundle = open_bundle(parsed.model)
    generator = bundle.generator
    found = find_directions(bundle, method=parsed.method, layers=parsed.layers, k=parsed.k)
    latent = Latent(sample_z(generator, 1, seed=parsed.seed)[0], "z", generator.fingerprint)
    psi = parsed.psi if generator.num_layers else 1.0
    with torch.inference_mode():
        cells = [
            edit(latent, {direction: weight}, generator=generator, psi=psi).tensor
            for direction in found
            for weight in torch.linspace(*direction.range, parsed.columns).tolist()
        ]
        batches = torch.stack(cells).to(generator.device).split(BATCH)
        images = torch.cat([generator.synthesize(batch).cpu() for batch in batches])
    write(
        parsed.output,
        encode_image(grid(images, columns=parsed.columns), picture_format(parsed.output)),
    )
    return 0

"""`ni edit`: a picture from a latent code and slider weights."""

import argparse
from pathlib import Path

from service.commands import Commands
from service.commands.invert import picture_format
from service.commands.loading import add_model_option, open_bundle, write


def add_to(commands: Commands) -> None:
    """Add `ni edit`."""
    parser = commands.add_parser("edit", help="edit a latent code along directions")
    parser.add_argument("latent", metavar="LATENT", type=Path, help="a .npy or .safetensors file")
    add_model_option(parser)
    parser.add_argument(
        "--weight",
        metavar="DIRECTION=WEIGHT",
        type=direction_weight,
        action="append",
        default=[],
        help="a direction and how far to go, as in sefa.0-5.0=2.5; as often as needed",
    )
    parser.add_argument("--layers", help="rows of W+ to edit; default: those of each direction")
    parser.add_argument(
        "--space", choices=("z", "w", "w+"), help="space of the latent, where its shape fits two"
    )
    parser.add_argument("--psi", type=float, default=1.0, help="truncation, 1 for none")
    parser.add_argument("-o", "--output", type=Path, default=Path("edited.png"))
    parser.add_argument("--save-latent", type=Path, help="where to write the edited latent")
    parser.set_defaults(run=run)


def direction_weight(text: str) -> tuple[str, float]:
    """Read `sefa.0-5.0=2.5`."""
    identity, _, weight = text.rpartition("=")
    try:
        return identity, float(weight)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in =NUMBER") from None


def run(parsed: argparse.Namespace) -> int:
    """Edit, render, write."""
    import torch

    from ni_core.directions import resolve_direction
    from ni_core.editing import edit
    from ni_core.images import encode_image
    from ni_core.latents import decode_latent, encode_latent
    from ni_core.layers import parse_layers

    bundle = open_bundle(parsed.model)
    latent = decode_latent(parsed.latent.read_bytes(), bundle.generator, parsed.space)
    weights = {resolve_direction(bundle, name): weight for name, weight in parsed.weight}
    generator = bundle.generator
    layers = parsed.layers and parse_layers(parsed.layers, generator.num_layers)
    edited = edit(latent, weights, generator=generator, layers=layers, psi=parsed.psi)
    with torch.inference_mode():
        image = generator.synthesize(edited.tensor[None].to(generator.device))[0]
    write(parsed.output, encode_image(image.cpu(), picture_format(parsed.output)))
    if parsed.save_latent:
        npy = parsed.save_latent.suffix == ".npy"
        write(parsed.save_latent, encode_latent(edited, "npy" if npy else "safetensors"))
    return 0

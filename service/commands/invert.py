"""`ni invert`: the latent codes of pictures, without a service."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands import Commands
from service.commands.loading import add_model_option, open_bundle, write

if TYPE_CHECKING:
    from ni_core.images import ImageFormat
    from ni_core.inversion import InversionResult, StepReport

SHORT_OPTIONS = ("space", "steps", "seed", "budget_seconds", "target_lpips")


def add_to(commands: Commands) -> None:
    """Add `ni invert`."""
    parser = commands.add_parser(
        "invert",
        help="find the latent codes of pictures",
        description="Find the latent codes of pictures; several are optimised together. "
        "Files are named after the pictures unless -o names one.",
    )
    parser.add_argument("pictures", metavar="PICTURE", type=Path, nargs="+")
    add_model_option(parser)
    parser.add_argument("--method", default="auto", help="how (%(default)s: the model's best)")
    parser.add_argument("--space", help="z, w or w+")
    parser.add_argument("--steps", type=int, help="optimiser iterations")
    parser.add_argument("--seed", type=int, help="seed of random starts")
    parser.add_argument("--budget-seconds", type=float, help="stop after this time")
    parser.add_argument("--target-lpips", type=float, help="stop at this distance")
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="another option of the method, as often as needed",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="latent file (.npy or .safetensors) of one picture, else a folder",
    )
    parser.add_argument("--save-image", type=Path, help="where to write what was reached")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Invert, write the files, print the metrics as one JSON line per picture."""
    import torch

    from ni_core.images import decode_image, encode_image, fit, grid
    from ni_core.inversion import invert
    from ni_core.latents import encode_latent

    outputs = output_paths(parsed.pictures, parsed.output)
    bundle = open_bundle(parsed.model)
    resolution = bundle.generator.resolution
    images = [fit(decode_image(path.read_bytes()), resolution) for path in parsed.pictures]
    result = invert(
        bundle,
        torch.stack(images),
        method=parsed.method,
        options=method_options(parsed),
        on_step=show_progress if sys.stderr.isatty() else None,
    )
    for path, latent in zip(outputs, result.latents, strict=True):
        write(path, encode_latent(latent, "npy" if path.suffix == ".npy" else "safetensors"))
    if parsed.save_image:
        sheet = grid(torch.stack(list(result.images)), columns=len(images))
        write(parsed.save_image, encode_image(sheet, picture_format(parsed.save_image)))
    print_metrics(parsed.pictures, result)
    return 0


def output_paths(pictures: list[Path], output: Path | None) -> list[Path]:
    """Return the latent file of each picture."""
    if output is not None and output.suffix in (".npy", ".safetensors"):
        if len(pictures) > 1:
            raise FileExistsError(f"{output} is one file, and there are {len(pictures)} pictures")
        return [output]
    paths = [(output or Path()) / f"{picture.stem}.safetensors" for picture in pictures]
    for path in paths:
        if paths.count(path) > 1:
            raise FileExistsError(f"{path} would hold the latents of {paths.count(path)} pictures")
    return paths


def method_options(parsed: argparse.Namespace) -> dict[str, object]:
    """Collect what was given; the method knows the defaults and the limits."""
    given = {name: getattr(parsed, name) for name in SHORT_OPTIONS}
    options: dict[str, object] = {name: v for name, v in given.items() if v is not None}
    for text in parsed.option:
        name, _, value = text.partition("=")
        options[name] = json_or_text(value)
    return options


def json_or_text(value: str) -> object:
    """Read `3`, `0.5`, `true` as what they are; anything else is text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def picture_format(path: Path) -> "ImageFormat":
    """Return the format that the name of a picture file asks for."""
    formats: dict[str, ImageFormat] = {".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
    return formats.get(path.suffix.lower(), "png")


def show_progress(report: "StepReport") -> None:
    """Rewrite one line of the terminal."""
    end = "\n" if report.step + 1 >= report.steps else ""
    loss = f"  loss {report.loss:.4f}" if report.loss is not None else ""
    print(f"\rstep {report.step}/{report.steps}{loss} ", end=end, file=sys.stderr)


def print_metrics(pictures: list[Path], result: "InversionResult") -> None:
    """Print what was reached, if it was measured, one JSON object per line."""
    for picture, metrics in zip(pictures, result.metrics, strict=bool(result.metrics)):
        print(json.dumps({"picture": str(picture), **metrics}))

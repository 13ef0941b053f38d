"""`ni models import`: a model of foreign files."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands import Commands
from service.commands.invert import picture_format
from service.commands.loading import model_directory, write

if TYPE_CHECKING:
    from ni_core.bundles import Bundle
    from ni_core.bundles.importer import Imported, Progress, Sources

TRUNKS = ("squeezenet1_1", "alexnet", "vgg16")
DESCRIPTION = """\
Make a model of foreign files: read without running any code of theirs, converted, checked by
running, then put into the model directory in one step. The format of a file is recognised from
its content. A running service lists the model without a restart.
"""


def add_to(actions: Commands) -> None:
    """Add `ni models import`."""
    parser = actions.add_parser(
        "import", help="make a model of foreign files", description=DESCRIPTION
    )
    parser.add_argument("--name", required=True, help="small letters, digits, - and _")
    add_sources(parser)
    parser.add_argument("--licence", metavar="SPDX", help="licence of the weights, as in MIT")
    parser.add_argument("--subject", help="what its pictures show")
    parser.add_argument("--alignment", help="how they are aligned, as in `ffhq` or `none`")
    parser.add_argument("--replace", action="store_true", help="replace a model of this name")
    add_sheet_option(parser)
    parser.set_defaults(run=run)


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the options that name files; each may also be the folder of a model."""
    parser.add_argument("--generator", metavar="FILE", type=Path)
    parser.add_argument(
        "--encoder",
        metavar="FILE",
        type=Path,
        help="an encoder; without --generator, the generator in the same file is taken, too",
    )
    parser.add_argument(
        "--layout",
        metavar="JSON",
        type=Path,
        help="what the generator's file does not tell; docs/models.md shows examples",
    )
    parser.add_argument(
        "--resolution",
        metavar="PIXELS",
        type=int,
        help="side of the pictures, for files that hold several sizes",
    )
    parser.add_argument(
        "--directions", metavar="FILE", type=Path, nargs="+", action="extend", default=[]
    )
    parser.add_argument(
        "--directions-space",
        choices=("z", "w"),
        default="w",
        help="space of directions whose files do not tell it (%(default)s)",
    )
    parser.add_argument(
        "--trunk",
        metavar="FILE",
        type=Path,
        help="torchvision weights of the feature network for LPIPS, one of "
        f"{', '.join(TRUNKS)}; default: that of the embedded model",
    )
    parser.add_argument(
        "--trunk-architecture", choices=TRUNKS, help="default: told by the shapes of the weights"
    )
    parser.add_argument(
        "--trunk-calibrated",
        action="store_true",
        default=None,
        help="weight the channels as the lpips package does, although the trunk is not known to "
        "be torchvision's",
    )


def add_sheet_option(parser: argparse.ArgumentParser) -> None:
    """Add `--sheet`."""
    parser.add_argument(
        "--sheet", metavar="PICTURE", type=Path, help="where to write samples: look at the colours"
    )


def run(parsed: argparse.Namespace) -> int:
    """Import, and say what was found."""
    from ni_core.bundles import load_bundle
    from ni_core.bundles.importer import import_bundle

    imported = import_bundle(
        parsed.name,
        sources_of(parsed),
        directory=model_directory(),
        licence=parsed.licence,
        domain=domain_of(parsed),
        replace=parsed.replace,
        on_progress=show_progress,
    )
    report(imported)
    if parsed.sheet is not None:
        write_sheet(load_bundle(imported.folder), parsed.sheet)
    return 0


def write_sheet(bundle: "Bundle", path: Path | None) -> None:
    """Write samples of a model as one picture, if that is wanted."""
    from ni_core.bundles.verification import contact_sheet
    from ni_core.images import encode_image

    if path is not None:
        write(path, encode_image(contact_sheet(bundle), picture_format(path)))


def sources_of(parsed: argparse.Namespace) -> "Sources":
    """Collect the files."""
    from ni_core.bundles.importer import Sources

    return Sources(
        generator=parsed.generator,
        encoder=parsed.encoder,
        directions=tuple(parsed.directions),
        directions_space=parsed.directions_space,
        trunk=parsed.trunk,
        trunk_architecture=parsed.trunk_architecture,
        trunk_calibrated=parsed.trunk_calibrated,
        layout=parsed.layout,
        resolution=parsed.resolution,
    )


def domain_of(parsed: argparse.Namespace) -> dict[str, str]:
    """Collect what is said of the pictures."""
    said = {"subject": parsed.subject, "alignment": parsed.alignment}
    return {name: text for name, text in said.items() if text is not None}


def show_progress(progress: "Progress") -> None:
    """Print one line."""
    size = f"  {progress.nbytes:,} bytes" if progress.nbytes else ""
    line = f"{progress.seconds:7.1f} s  {progress.step:<10} {progress.subject}{size}"
    print(line, file=sys.stderr, flush=True)


def report(imported: "Imported") -> None:
    """Print the folder, and on the side what its user should know."""
    for note in imported.notes:
        print(f"note: {note}", file=sys.stderr)
    for warning in imported.check.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(imported.folder)

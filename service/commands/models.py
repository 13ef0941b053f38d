"""`ni models`: what can be inverted into, and what is done with it."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from service.commands import Commands, model_import
from service.commands.loading import model_directory, open_cache

if TYPE_CHECKING:
    from ni_core.bundles import Manifest
    from ni_core.bundles.verification import Check

COLUMNS = "{:<24} {:<12} {:>6} {:<8} {:<20} {:>10} {:>10}  {}"


def add_to(commands: Commands) -> None:
    """Add `ni models import`, `attach`, `list`, `show`, `verify` and `remove`."""
    parser = commands.add_parser(
        "models", help="import, extend, list, show, verify or remove models"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    model_import.add_to(actions)
    attaching = actions.add_parser("attach", help="add parts that `ni train` made to a model")
    attaching.add_argument("name")
    attaching.add_argument(
        "folders", metavar="FOLDER", type=Path, nargs="+", help="--out of the training"
    )
    attaching.set_defaults(run=run_attach)
    listing = actions.add_parser("list", help="a table of all models")
    listing.set_defaults(run=run_list)
    showing = actions.add_parser("show", help="everything the manifest of a model says, as JSON")
    showing.add_argument("name")
    showing.set_defaults(run=run_show)
    verifying = actions.add_parser(
        "verify", help="compare a model's files with their digests, and run its networks"
    )
    verifying.add_argument("name")
    model_import.add_sheet_option(verifying)
    verifying.set_defaults(run=run_verify)
    removing = actions.add_parser("remove", help="remove an imported model; asks nothing")
    removing.add_argument("name")
    removing.set_defaults(run=run_remove)


def run_list(parsed: argparse.Namespace) -> int:
    """Print a table, and on the side the folders that are no models."""
    from ni_core.bundles import read_manifest
    from ni_core.bundles.model_directory import broken_bundles, find_bundle

    directory, cache = model_directory(), open_cache()
    heads = ("name", "family", "pixels", "spaces", "methods", "directions", "size", "licence")
    print(COLUMNS.format(*heads))
    for name in cache.names():
        manifest = read_manifest(find_bundle(name, directory))
        print(COLUMNS.format(*row(cache.summary(name), manifest)).rstrip())
    for folder, reason in broken_bundles(directory).items():
        print(f"{folder}: {reason}", file=sys.stderr)
    return 0


def row(summary: dict[str, object], manifest: "Manifest") -> tuple[object, ...]:
    """Return the columns of one model."""
    nbytes = sum(manifest.path(file).stat().st_size for file in manifest.files)
    directions = manifest.directions
    return (
        summary["name"],
        summary["family"],
        summary["resolution"],
        words(summary["spaces"]),
        words(summary["methods"]),
        len(directions.entries) if directions else 0,
        f"{nbytes / 1e6:,.1f} MB",
        summary["licence"],
    )


def words(names: object) -> str:
    """Join a list of names."""
    return ",".join(str(name) for name in names) if isinstance(names, list) else str(names)


def run_show(parsed: argparse.Namespace) -> int:
    """Print one summary."""
    print(json.dumps(open_cache().summary(parsed.name), indent=2))
    return 0


def run_attach(parsed: argparse.Namespace) -> int:
    """Add the parts, and print what was added and what the check found."""
    from ni_core.bundles.parts import attach

    kinds, check = attach(parsed.name, parsed.folders, directory=model_directory())
    print(f"{parsed.name} now has {', '.join(kinds)}")
    print_check(check)
    return 0


def print_check(check: "Check") -> None:
    """Print what was measured, and on the side what looks wrong."""
    for name, value in check.figures.items():
        print(f"{name:<24} {value}")
    for warning in check.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def run_verify(parsed: argparse.Namespace) -> int:
    """Print what was found; a model that cannot be used is a mistake with a reason."""
    from ni_core.bundles import load_bundle, read_manifest
    from ni_core.bundles.model_directory import find_bundle
    from ni_core.bundles.verification import check_bundle, check_files

    folder = find_bundle(parsed.name, model_directory())
    manifest = read_manifest(folder)
    recorded = check_files(manifest)
    print(f"{recorded} of {len(manifest.files)} files have a recorded digest, and fit it")
    bundle = load_bundle(folder)
    print_check(check_bundle(bundle))
    model_import.write_sheet(bundle, parsed.sheet)
    return 0


def run_remove(parsed: argparse.Namespace) -> int:
    """Remove it and say so."""
    from ni_core.bundles.model_directory import remove_bundle

    remove_bundle(parsed.name, model_directory())
    print(f"removed {parsed.name}")
    return 0

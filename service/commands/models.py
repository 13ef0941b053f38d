"""`ni models`: what can be inverted into."""

import argparse
import json

from service.commands import Commands
from service.commands.loading import open_cache


def add_to(commands: Commands) -> None:
    """Add `ni models list` and `ni models show`."""
    parser = commands.add_parser("models", help="list models, or show one")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="names, families and resolutions")
    listing.set_defaults(run=run_list)
    showing = actions.add_parser("show", help="everything the manifest of a model says, as JSON")
    showing.add_argument("name")
    showing.set_defaults(run=run_show)


def run_list(parsed: argparse.Namespace) -> int:
    """Print a table."""
    cache = open_cache()
    print(f"{'name':<24} {'family':<12} {'pixels':>6}  methods")
    for name in cache.names():
        summary = cache.summary(name)
        methods = ", ".join(str(method) for method in summary["methods"])
        print(f"{name:<24} {summary['family']:<12} {summary['resolution']:>6}  {methods}")
    return 0


def run_show(parsed: argparse.Namespace) -> int:
    """Print one summary."""
    print(json.dumps(open_cache().summary(parsed.name), indent=2))
    return 0

"""`ni openapi`: the description of the HTTP interface, as openapi.yaml holds it."""

import argparse
import sys

from service.commands import Commands


def add_to(commands: Commands) -> None:
    """Add `ni openapi`."""
    parser = commands.add_parser("openapi", help="print the OpenAPI description of the service")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Print the description."""
    from service.openapi import openapi_yaml

    sys.stdout.write(openapi_yaml())
    return 0

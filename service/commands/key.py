"""`ni key`: a new API key, and the digest by which the service knows it."""

import argparse
import secrets

from service.commands import Commands


def add_to(commands: Commands) -> None:
    """Add `ni key`."""
    parser = commands.add_parser(
        "key",
        help="make an API key",
        description="Make an API key. Give the key to its user, and the digest to the service.",
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Print the key once; the service never sees more than its digest."""
    from service.security import digest_of

    key = secrets.token_urlsafe(32)
    print(f"key:    {key}\ndigest: {digest_of(key)}\n")
    print("Put the digest into NI_API_KEYS (several: separated by commas).")
    return 0

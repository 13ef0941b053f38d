"""`ni directions`: the semantic directions of a generator."""

import argparse
import json
from typing import TYPE_CHECKING

from service.commands import Commands
from service.commands.loading import add_model_option, open_bundle

if TYPE_CHECKING:
    from ni_core.directions import Direction


def add_to(commands: Commands) -> None:
    """Add `ni directions`."""
    parser = commands.add_parser("directions", help="list semantic directions of a model")
    add_model_option(parser)
    parser.add_argument("--method", default="sefa", help="how they are found (%(default)s)")
    parser.add_argument("--layers", default="all", help="rows of W+: all, 0-5, 1,3 (%(default)s)")
    parser.add_argument("--k", type=int, default=8, help="how many (%(default)s)")
    parser.add_argument("--json", action="store_true", help="as JSON, with the vectors")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Print a table, or JSON."""
    from ni_core.directions import find_directions

    bundle = open_bundle(parsed.model)
    found = find_directions(bundle, method=parsed.method, layers=parsed.layers, k=parsed.k)
    if parsed.json:
        print(json.dumps([as_json(direction) for direction in found], indent=2))
        return 0
    print(f"{'direction':<18} {'eigenvalue':>10}  {'range':<16} name")
    for d in found:
        low, high = d.range
        span = f"{low:.2f} .. {high:.2f}"
        eigenvalue = "" if d.eigenvalue is None else f"{d.eigenvalue:.4g}"
        print(f"{d.id:<18} {eigenvalue:>10}  {span:<16} {d.name or ''}".rstrip())
    return 0


def as_json(direction: "Direction") -> dict[str, object]:
    """Return one direction with its vector."""
    return {
        "id": direction.id,
        "layers": list(direction.layers),
        "space": direction.space,
        "eigenvalue": direction.eigenvalue,
        "name": direction.name,
        "source": direction.source,
        "range": list(direction.range),
        "vector": direction.vector.tolist(),
    }

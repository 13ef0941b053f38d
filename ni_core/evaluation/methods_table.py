"""The figures of `ni evaluate methods` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ni_core.evaluation.picture_sets import OTHER_DOMAIN, OWN_SAMPLES, UNSEEN_RENDERS

COLUMNS = {
    "mse": ("mse", ".4f"),
    "psnr": ("PSNR, dB", ".1f"),
    "ssim": ("SSIM", ".3f"),
    "lpips": ("LPIPS", ".3f"),
    "seconds": ("s per picture", ".3f"),
    "steps": ("steps", "d"),
    "latent_distance": ("latent distance", ".2f"),
    "factor_error": ("factor error", ".2f"),
    "editability": ("editability", ".2f"),
    "leakage": ("leakage", ".2f"),
}
"""Figures in the order of the table, with their headings and formats."""

TITLES = {
    OWN_SAMPLES: "The generator's own samples",
    UNSEEN_RENDERS: "Unseen renders",
    OTHER_DOMAIN: "Another domain: still lifes",
}

MEANINGS = """\
Means over the pictures; LPIPS on `{trunk}`; seconds in batches of 8, on {processor}, {threads}
thread(s). Latent distance: from the true latents in W+, root mean square; the unit is the spread of
mapped latents. Factor error: of what the judge reads, over its error on the renders themselves.
Editability: how nearly +1 along a direction changes its main factor as on true latents, 1 is the
same; leakage: how far the other factors move meanwhile, per unit of main change, 1 is as on true
latents. Rows of the sheet: the targets, then the methods in this order.
"""


def markdown(figures: Mapping[str, Any]) -> str:
    """Write tables for all sets, the directions of the edits, and the checks."""
    title = f"# Methods on `{figures['bundle']}`, {figures['pictures']} pictures of each set"
    meanings = MEANINGS.format(trunk=figures["trunk"], **_machine(figures["hardware"]))
    parts = [title, meanings.strip()]
    names: Mapping[str, Any] = next(iter(figures["methods"].values()), {})
    for name in names:
        rows = {method: by_set[name] for method, by_set in figures["methods"].items()}
        parts += [f"## {TITLES[name]}", _table(rows)]
    if figures["directions"]:
        moved = [
            f"`{d['direction']}` ({d['factor']}, r {d['r']:+.2f})" for d in figures["directions"]
        ]
        parts += [f"Directions of the edits: {', '.join(moved)}."]
    return "\n\n".join([*parts, "## Checks", _checks(figures["checks"])]) + "\n"


def _table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    shown = [key for key in COLUMNS if any(key in row for row in rows.values())]
    lines = [["method", *(COLUMNS[key][0] for key in shown)], ["---"] * (len(shown) + 1)]
    for method, row in rows.items():
        cells = [format(row[key], COLUMNS[key][1]) if key in row else "" for key in shown]
        lines.append([method, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _checks(checks: list[dict[str, Any]]) -> str:
    words = {True: "holds", False: "**does not hold**", None: "not measured"}
    lines = ["| aim, on unseen renders | value | limit | |", "|---|---|---|---|"]
    for check in checks:
        numbers = ["" if check[key] is None else f"{check[key]:.4g}" for key in ("value", "limit")]
        lines.append(f"| {check['aim']} | {numbers[0]} | {numbers[1]} | {words[check['holds']]} |")
    return "\n".join(lines)


def _machine(hardware: Mapping[str, Any]) -> dict[str, Any]:
    name = hardware["processor"] if hardware["device"] == "cpu" else hardware["device"]
    return {"processor": name, "threads": hardware["threads"]}

"""Line charts as SVG: both axes logarithmic, one line for each series, a legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#444444", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours that people who see few colours can tell apart; used in turn."""

WIDTH, HEIGHT, MARGIN, HEAD, LEGEND = 420, 320, 60, 70, 24
"""Size of a panel without its margins, space around it, space for title and legend; in pixels."""

Points = Sequence[tuple[float, float]]


def plot(panels: Sequence[tuple[str, str, Mapping[str, Points]]], title: str) -> str:
    """Draw panels side by side.

    Args:
        panels: Of each the label below, the label beside, and points (x, y) > 0 by series.
        title: Shown above; its lines are separated by newlines.

    Returns:
        The text of an SVG file.
    """
    width = len(panels) * (WIDTH + 2 * MARGIN)
    lines = [_text(MARGIN, 20 + 16 * i, line) for i, line in enumerate(title.split("\n"))]
    names = list(dict.fromkeys(name for *_, series in panels for name in series))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    for i, (name, colour) in enumerate(colours.items()):
        lines.append(_text(MARGIN + 120 * i, HEAD, f"● {name}", fill=colour))
    for i, panel in enumerate(panels):
        x = MARGIN + i * (WIDTH + 2 * MARGIN)
        lines.append(f'<g transform="translate({x},{HEAD + LEGEND})">')
        lines += [*_panel(*panel, colours), "</g>"]
    height = HEAD + LEGEND + HEIGHT + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *lines, "</svg>"]) + "\n"


def _panel(
    below: str, beside: str, series: Mapping[str, Points], colours: Mapping[str, str]
) -> list[str]:
    points = [point for values in series.values() for point in values]
    xs, ys = (_Axis([point[i] for point in points], (WIDTH, HEIGHT)[i]) for i in (0, 1))
    lines = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>']
    for value, x in xs.ticks():
        lines.append(f'<path d="M{x:.1f} 0V{HEIGHT}" stroke="#ddd"/>')
        lines.append(_text(x, HEIGHT + 16, f"{value:g}", anchor="middle"))
    for value, y in ys.ticks():
        lines.append(f'<path d="M0 {HEIGHT - y:.1f}H{WIDTH}" stroke="#ddd"/>')
        lines.append(_text(-6, HEIGHT - y + 4, f"{value:g}", anchor="end"))
    for name, values in series.items():
        places = [f"{xs.place(x):.1f},{HEIGHT - ys.place(y):.1f}" for x, y in values]
        line = f'points="{" ".join(places)}" fill="none" stroke="{colours[name]}"'
        lines.append(f'<polyline {line} stroke-width="2"><title>{escape(name)}</title></polyline>')
    lines.append(_text(WIDTH / 2, HEIGHT + 38, below, anchor="middle"))
    return [*lines, _text(0, -8, beside)]


class _Axis:
    """A logarithmic scale over some numbers, as long as `length` pixels."""

    def __init__(self, values: Sequence[float], length: int) -> None:
        self._low, self._high = math.log10(min(values)), math.log10(max(values) * 1.05)
        self._length = length

    def place(self, value: float) -> float:
        return (math.log10(value) - self._low) / (self._high - self._low) * self._length

    def ticks(self) -> list[tuple[float, float]]:
        """Ones, twos and fives within the scale, and their places."""
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        inside = [v for v in values if self._low <= math.log10(v) <= self._high]
        return [(value, self.place(value)) for value in inside]


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "#222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {place}>{escape(text)}</text>"

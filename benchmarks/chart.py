"""A picture of one figure against others, as SVG, written by hand: some text and lines need no library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _TOP, _BOTTOM, _SIDE, _GAP = 360, 240, 56, 48, 56, 24
_STEPS = 4  # of the scale at the left
_STYLE = (
    "text{font:12px sans-serif;fill:#555}.title{font-size:14px;fill:#222}.grid{stroke:#ddd}.axis{stroke:#888}"
    ".line{fill:none;stroke:#2563a8;stroke-width:2}.point{fill:#2563a8}.band{fill:#2563a8;opacity:.12}"
)


@dataclass(frozen=True)
class Panel:
    """One line of a picture.

    Attributes:
        title: what grows to the right, on a logarithmic scale.
        points: of x and y, by x.
    """

    title: str
    points: Sequence[tuple[float, float]]


def draw(title: str, unit: str, panels: Sequence[Panel], flat: float) -> str:
    """Return a picture of panels side by side, which share their scale.

    Args:
        title: what is shown.
        unit: of y.
        panels: the lines.
        flat: the factor over the first point within which a line counts as flat, shown as a band.
    """
    most = _round_up(1.15 * max(max(y for _, y in panel.points) for panel in panels))
    width = _SIDE + len(panels) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="{_SIDE}" y="22">{escape(title)}</text>',
        f'<text x="{_SIDE}" y="42">{escape(unit)}; the band is what counts as flat</text>',
    ]
    for place, panel in enumerate(panels):
        parts += _panel(panel, _SIDE + place * (_WIDTH + _GAP), most, flat, scale=place == 0)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, left: float, most: float, flat: float, *, scale: bool) -> list[str]:
    def height_of(y: float) -> float:
        return _TOP + _HEIGHT * (1 - min(y, most) / most)

    places = [left + 20 + (_WIDTH - 40) * part for part in _parts([x for x, _ in panel.points])]
    parts = []
    for step in range(_STEPS + 1):
        y = most * step / _STEPS
        at = height_of(y)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + _WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>')
        if scale:
            parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>')
    base = panel.points[0][1]
    top, bottom = height_of(base * flat), height_of(base / flat)
    parts.append(
        f'<rect class="band" x="{left}" y="{top:.1f}" width="{_WIDTH}" height="{max(0.0, bottom - top):.1f}"/>'
    )
    foot = _TOP + _HEIGHT
    parts.append(f'<line class="axis" x1="{left}" x2="{left + _WIDTH}" y1="{foot}" y2="{foot}"/>')
    ends = " ".join(f"{x:.1f},{height_of(y):.1f}" for x, (_, y) in zip(places, panel.points, strict=True))
    parts.append(f'<polyline class="line" points="{ends}"/>')
    for x, (value, y) in zip(places, panel.points, strict=True):
        parts.append(f'<circle class="point" cx="{x:.1f}" cy="{height_of(y):.1f}" r="4"/>')
        parts.append(f'<text x="{x:.1f}" y="{height_of(y) - 10:.1f}" text-anchor="middle">{y:.2f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{foot + 18}" text-anchor="middle">{value:,.0f}</text>')
    parts.append(f'<text x="{left + _WIDTH / 2}" y="{foot + 38}" text-anchor="middle">{escape(panel.title)}</text>')
    return parts


def _parts(values: Sequence[float]) -> list[float]:
    """Return where values stand between the first and the last, from 0 to 1."""
    logs = [math.log(value) for value in values]
    span = logs[-1] - logs[0] or 1.0
    return [(log - logs[0]) / span for log in logs]


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4 or 8 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)

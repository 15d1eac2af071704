"""Charts of a report as SVG text: no script, no font or colour from elsewhere, readable in print.

Every text in them is escaped. Widths and heights are in the picture's own units, which a report shows as CSS pixels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from explorer.listen.charts import sample_places
from explorer.store.ranking import Ranking

ABOVE, NOISE, DECOY, INK, LINE = "#0f766e", "#857f79", "#c2410c", "#292524", "#d6d3d1"
WIDTH = 720
FURTHEST = 8.0  # lift is drawn from 1/8 to 8
NAME_CHARS = 44
BARS = 240  # of a strip; more cannot be seen


@dataclass(frozen=True)
class LiftBand:
    """One lift with its interval."""

    name: str
    low: float
    lift: float
    high: float
    chosen: bool


class MomentStrip(NamedTuple):
    """Influence over the time of a clip or a track."""

    label: str
    influence: Sequence[float]
    length_s: float


def _wrap_svg(height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img" '
        f'aria-label="{html.escape(label)}" font-family="sans-serif" font-size="12" fill="{INK}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{html.escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = LINE, extra: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {extra}/>'


def draw_spread(ranking: Ranking) -> str:
    """Normalised score by place: training tracks as a line, decoys dashed, what is above noise as dots."""
    height, left, bottom, top = 300.0, 46.0, 34.0, 12.0
    training, decoys = np.flatnonzero(~ranking.is_decoy), np.flatnonzero(ranking.is_decoy)
    low, high = min(0.0, float(ranking.value.min())), max(1e-9, float(ranking.value.max()))
    furthest = math.log(max(2, len(training)))

    def x(place: float) -> float:
        return left + (WIDTH - left - 12) * min(1.0, math.log(max(1.0, place)) / furthest)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts = []
    step = 10 ** math.floor(math.log10(high - low)) / (
        1 if high - low > 4 * 10 ** math.floor(math.log10(high - low)) else 2
    )
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        parts += [
            _line(left, y(k * step), WIDTH - 12, y(k * step)),
            _text(left - 6, y(k * step) + 4, f"{k * step:g}", "end"),
        ]
    for place in (10**k for k in range(8) if 10**k <= max(1, len(training))):
        parts.append(_text(x(place), height - bottom + 16, f"{place:,}", "middle"))
    parts.append(_text((left + WIDTH) / 2, height - 3, "place", "middle"))
    for rows, scale, style in (
        (decoys, len(training) / max(1, len(decoys)), f'stroke="{DECOY}" stroke-dasharray="5 4"'),
        (training, 1.0, f'stroke="{NOISE}"'),
    ):
        if len(rows):
            places = sample_places(len(rows))
            points = " ".join(f"{x(p * scale):.1f},{y(float(ranking.value[rows[p - 1]])):.1f}" for p in places)
            parts.append(f'<polyline points="{points}" fill="none" stroke-width="2" {style}/>')
    out = [p for p in sample_places(len(training)) if ranking.above_noise[training[p - 1]]]
    parts += [
        f'<circle cx="{x(p):.1f}" cy="{y(float(ranking.value[training[p - 1]])):.1f}" r="3.5" fill="{ABOVE}"/>'
        for p in out
    ]
    parts.append(f'<rect x="{WIDTH - 152}" y="{top}" width="140" height="62" fill="#ffffff"/>')
    for row, (colour, words) in enumerate(((ABOVE, "above noise"), (NOISE, "training tracks"), (DECOY, "decoys"))):
        at = top + 14 + 18 * row
        parts += [f'<circle cx="{WIDTH - 140}" cy="{at - 4}" r="4" fill="{colour}"/>', _text(WIDTH - 130, at, words)]
    return _wrap_svg(height, parts, "Normalised influence score by place, training tracks and decoys")


def draw_intervals(bands: Sequence[LiftBand]) -> str:
    """Lift with its interval on a log axis from 1/8 to 8, a row each; 1 is chance."""
    row, left, right, top = 24.0, 290.0, 136.0, 8.0
    height = top + row * len(bands) + 34

    def x(value: float) -> float:
        part = math.log(min(max(value, 1 / FURTHEST), FURTHEST)) / math.log(FURTHEST)
        return left + (WIDTH - left - right) * (1 + part) / 2

    parts = []
    for mark in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        style = 'stroke-dasharray="3 3"' if mark == 1 else ""
        parts.append(_line(x(mark), top, x(mark), height - 30, INK if mark == 1 else LINE, style))
        parts.append(_text(x(mark), height - 14, f"{mark:g}", "middle"))
    parts.append(_text(x(1.0), height - 1, "lift; 1 = chance", "middle"))
    for i, band in enumerate(bands):
        y = top + row * (i + 0.5)
        name = band.name if len(band.name) <= NAME_CHARS else band.name[: NAME_CHARS - 1] + "…"
        weight = 'font-weight="bold"' if band.chosen else ""
        colour = ABOVE if band.chosen else NOISE
        parts.append(_text(left - 10, y + 4, name, "end", weight))
        if math.isfinite(band.high):
            parts.append(_line(x(band.low), y, x(band.high), y, colour, 'stroke-width="3"'))
            parts.append(f'<circle cx="{x(band.lift):.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
            parts.append(
                _text(WIDTH - right + 10, y + 4, f"{band.lift:.2f} ({band.low:.2f}–{band.high:.2f})", "start", weight)
            )
    return _wrap_svg(height, parts, "Lift over chance with its interval, by group")


def draw_moments(strips: Sequence[MomentStrip]) -> str:
    """Influence over time: a row of bars for each strip, relative to its largest magnitude."""
    height, left = 46.0, 60.0
    drawn = []
    for row, (label, influence, length_s) in enumerate(strips):
        values = np.asarray(influence, float)
        if len(values) > BARS:
            values = np.array([part[np.abs(part).argmax()] for part in np.array_split(values, BARS)])
        largest = float(np.abs(values).max()) or 1.0
        width = (WIDTH - left - 12) / len(values)
        zero = row * (height + 26) + 30
        drawn.append(_text(0, zero + 4, label))
        for i, value in enumerate(values):
            tall = 28 * abs(float(value)) / largest
            y = zero - tall if value > 0 else zero
            colour = ABOVE if value > 0 else NOISE
            drawn.append(
                f'<rect x="{left + i * width:.1f}" y="{y:.1f}" width="{max(0.5, width - 1):.1f}" height="{tall:.1f}" '
                f'fill="{colour}"/>'
            )
        drawn.append(_line(left, zero, WIDTH - 12, zero, NOISE))
        drawn += [_text(left, zero + 40, "0 s"), _text(WIDTH - 12, zero + 40, f"{length_s:.1f} s", "end")]
    return _wrap_svg(
        len(strips) * (height + 26) + 4, drawn, "Influence over time: " + ", ".join(label for label, _, _ in strips)
    )

"""Results of a session as SVG: each function draws the dict of `results.summarise_ratings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

WIDTH, ROW, LABEL, PAD = 640, 30, 230, 20
_ACCENT, _SOFT, _DECOY = "var(--whence-above, #0f766e)", "var(--whence-noise, #857f79)", "var(--whence-decoy, #c2410c)"
_SHAPES = {"top": _ACCENT, "random": _SOFT, "decoy": _DECOY}


def draw_correlations(summary: dict[str, Any]) -> str:
    """Spearman of each method and question, with its interval."""
    rows = []
    for method in summary["methods"]:
        for item in method["correlation"]:
            if item["rho"] is not None:
                rows.append((f"{method['label']}: {item['question']}", item["rho"], item["low"], item["high"], _ACCENT))
    return _draw_forest(rows, -1, 1, 0.0, (-1, -0.5, 0, 0.5, 1), "Ratings against scores: Spearman's rho within a clip")


def draw_means(summary: dict[str, Any]) -> str:
    """Mean rating of each method's strongest tracks and of the controls."""
    groups = [(method["strongest"], _ACCENT) for method in summary["methods"]]
    groups += [(group, _DECOY if group["name"] == "decoys" else _SOFT) for group in summary["groups"]]
    rows = [(g["name"], g["mean"], g["low"], g["high"], colour) for g, colour in groups if g["mean"] is not None]
    return _draw_forest(rows, 1, 5, None, (1, 2, 3, 4, 5), f"Mean rating ({summary['main']})")


def draw_scatter(summary: dict[str, Any]) -> str:
    """Mean rating over normalised score, all clips, one panel for each method."""
    panels = [method for method in summary["methods"] if method["points"]]
    height, parts = 250, []
    for number, method in enumerate(panels):
        scores = [point["score"] for point in method["points"]]
        low, high = min(0.0, *scores), max(1.0, *scores)
        top = number * height + 34

        def x(score: float, low: float = low, high: float = high) -> float:
            return 60 + (score - low) / (high - low) * (WIDTH - 90)

        def y(rating: float, top: int = top) -> float:
            return top + (5 - rating) / 4 * 150

        parts.append(_text(60, top - 14, method["label"], weight=600))
        for rating in range(1, 6):
            parts.append(_line(60, y(rating), WIDTH - 30, y(rating), 0.15))
            parts.append(_text(46, y(rating) + 4, str(rating), "end"))
        for score in (low, 0.0, high) if low < -0.5 else (low, high):
            parts.append(_text(x(score), top + 172, f"{score:.1f}".replace("-", "\N{MINUS SIGN}"), "middle"))
        parts.append(_text(60 + (WIDTH - 90) / 2, top + 192, "normalised influence score", "middle"))
        parts += [_draw_mark(x(point["score"]), y(point["rating"]), point["role"]) for point in method["points"]]
    bottom = max(1, len(panels)) * height
    for place, (role, name) in enumerate((("top", "strongest"), ("random", "random track"), ("decoy", "decoy"))):
        parts += [_draw_mark(70 + 150 * place, bottom + 8, role), _text(82 + 150 * place, bottom + 12, name)]
    return _svg(bottom + 26, f"Mean rating ({summary['main']}) over normalised score", parts)


def _draw_forest(
    rows: Sequence[tuple[str, float, float | None, float | None, str]],
    least: float,
    most: float,
    reference: float | None,
    ticks: Sequence[float],
    title: str,
) -> str:
    """A dot and its interval a row; a row without an interval says so by an open dot."""

    def x(value: float) -> float:
        return LABEL + (min(most, max(least, value)) - least) / (most - least) * (WIDTH - LABEL - 80)

    bottom = PAD + ROW * max(1, len(rows))
    parts = []
    for tick in ticks:
        parts.append(_line(x(tick), PAD - 6, x(tick), bottom, 0.6 if tick == reference else 0.15))
        parts.append(_text(x(tick), bottom + 18, f"{tick:g}".replace("-", "\N{MINUS SIGN}"), "middle"))
    for number, (name, value, low, high, colour) in enumerate(rows):
        y = PAD + ROW * number + ROW / 2
        parts.append(_text(LABEL - 14, y + 4, name if len(name) <= 34 else name[:33] + "…", "end"))
        if low is not None and high is not None:
            parts.append(
                f'<line x1="{x(low):.1f}" y1="{y}" x2="{x(high):.1f}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
            )
        fill = "none" if low is None else colour
        parts.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(WIDTH - 66, y + 4, f"{value:.2f}".replace("-", "\N{MINUS SIGN}")))
    if not rows:
        parts.append(_text(PAD, PAD + ROW / 2 + 4, "not enough ratings yet"))
    return _svg(bottom + 28, title, parts)


def _draw_mark(x: float, y: float, role: str) -> str:
    """A disc for the strongest, a ring for random tracks, a diamond for decoys: apart without colours too."""
    colour = _SHAPES[role]
    if role == "decoy":
        return f'<path d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z" fill="none" stroke="{colour}" stroke-width="2"/>'
    fill = colour if role == "top" else "none"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}" stroke-width="2"/>'


def _line(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="currentColor" stroke-opacity="{opacity}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: int = 400) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} font-size="13" fill="currentColor">{escape(text)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="Inter, system-ui, sans-serif"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}" color="#1c1917">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


DRAWN: dict[str, Callable[[dict[str, Any]], str]] = {
    "correlations": draw_correlations,
    "means": draw_means,
    "scatter": draw_scatter,
}

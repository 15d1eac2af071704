"""Rankings and summaries of a clip -> what the curve draws and what the page says. Pure functions; no gradio.

Higher = stronger influence; place 1 = strongest, counted among training tracks or among decoys. Share: a training
track's part of the positive score of all training tracks, in the score on show. A span has normalised scores only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer.store.ranking import NORMALISED, Q_LIMIT, Ranking, Span
from explorer.text.numbers import choose_exponent, format_power, format_q
from explorer.text.verdict import mark_standouts, name_span

EVERY_PLACE_TO, LOG_PLACES = 100, 300  # places of tracks that are drawn: all of the first, then log-spaced ones
EVERY_DECOY_TO, LOG_DECOYS = 40, 120
TITLED_TRACKS, TITLED_DECOYS, TITLE_CHARS = 60, 20, 60  # with these a payload stays under 50 kB in any script
DECADES = 3  # of positive scores on the axis
SHARE_COUNTS = (1, 10, 100)


def sampled_places(count: int, every_to: int = EVERY_PLACE_TO, spaced: int = LOG_PLACES) -> np.ndarray:
    """Places (from 1) to draw among `count`, ascending: the first `every_to`, then log-spaced, always the last."""
    if count <= every_to:
        return np.arange(1, count + 1)
    tail = np.geomspace(every_to, count, spaced + 1).round().astype(int)
    return np.unique(np.concatenate([np.arange(1, every_to + 1), tail]))


def _short(values: np.ndarray) -> list[float]:
    """Four significant digits: more cannot be seen."""
    return [float(f"{value:.4g}") for value in values]


def list_titled(ranking: Ranking) -> list[int]:
    """Ids of the tracks and decoys whose title the curve shows."""
    return [*ranking.first(TITLED_TRACKS), *ranking.first(TITLED_DECOYS, decoys=True)]


def _axis(values: np.ndarray) -> tuple[float | None, float | None]:
    """(least, largest) positive value to draw, at most DECADES apart; (None, None) where nothing is positive."""
    positive = values[values > 0]
    if not len(positive):
        return None, None
    high = float(positive.max())
    return max(float(positive.min()), high / 10**DECADES), high


def shares(ranking: Ranking) -> tuple[list[int], list[float | None]]:
    """(counts, what the first so many training tracks hold, 0..1); None: nothing is positive. One to three entries,
    fewer where there are fewer tracks than SHARE_COUNTS; none without tracks."""
    counts = sorted({min(count, ranking.tracks) for count in SHARE_COUNTS} - {0})
    held = ranking.share[~ranking.is_decoy]
    return counts, [None if np.isnan(held[n - 1]) else round(float(held[n - 1]), 4) for n in counts]


def curve(
    ranking: Ranking,
    order: str,
    span: Span | None,
    titles: Mapping[int, str],
    selected: int | None,
    threshold: float | None,
    also: Sequence[int] = (),
) -> dict[str, Any]:
    """What curve.js draws: parallel lists over the sampled places, values divided by a power of ten.

    `threshold`: the least normalised score above noise; no line in raw order, in a span, or where no training track
    is above noise. `also`: tracks whose place the page must know beside the samples (lanes of the player).
    """
    unit = 10.0 ** (exponent := choose_exponent(ranking.value))
    scaled = ranking.value / unit
    out = mark_standouts(ranking, span)
    low, high = _axis(scaled)
    training, decoys = np.flatnonzero(~ranking.is_decoy), np.flatnonzero(ranking.is_decoy)
    n, m = len(training), len(decoys)
    whole = order == NORMALISED and span is None
    lined = whole and threshold is not None and bool((out & ~ranking.is_decoy).any())
    places = sampled_places(n)
    track_rows = training[places - 1]
    decoy_places = sampled_places(m, EVERY_DECOY_TO, LOG_DECOYS)
    decoy_rows = decoys[decoy_places - 1]
    share = ranking.share[track_rows]
    counts, held = shares(ranking)
    return {
        "name": f"{order} influence score" + (f", {name_span(span)} of the clip" if span else ""),
        "power": format_power(exponent),
        "counts": counts,
        "shares": held,
        "low": None if low is None else float(f"{low:.4g}"),
        "high": None if high is None else float(f"{high:.4g}"),
        "cut": bool(low is not None and ((scaled > 0) & (scaled < low)).any()),  # positive values below the axis
        "threshold": float(f"{threshold / unit:.4g}") if lined and threshold is not None else None,
        "legend": _legend(ranking, span, whole, lined),
        "caption": _caption(ranking, span),
        "track": {
            "count": n,
            "place": places.tolist(),
            "value": _short(scaled[track_rows]),
            "id": ranking.track_id[track_rows].tolist(),
            "out": [int(flag) for flag in out[track_rows]],
            "share": [None if math.isnan(part) else float(f"{part:.3g}") for part in share],
            "title": _titles(ranking.track_id[track_rows[:TITLED_TRACKS]], titles),
            "q": [format_q(q) for q in ranking.q_value[track_rows[:TITLED_TRACKS]].tolist()],
        },
        "decoy": {
            "count": m,
            "place": decoy_places.tolist(),
            "at": _short(decoy_places * (n / m)) if m else [],  # on the tracks' axis
            "value": _short(scaled[decoy_rows]),
            "id": ranking.track_id[decoy_rows].tolist(),
            "title": _titles(ranking.track_id[decoy_rows[:TITLED_DECOYS]], titles),
            "q": [format_q(q) for q in ranking.q_value[decoy_rows[:TITLED_DECOYS]].tolist()],
        },
        "selected": selected,
        "marks": _marks(ranking, scaled, [*([] if selected is None else [selected]), *also], titles),
    }


def _titles(ids: np.ndarray, titles: Mapping[int, str]) -> list[str]:
    return [titles.get(int(track_id), "")[:TITLE_CHARS] for track_id in ids]


def _marks(
    ranking: Ranking, scaled: np.ndarray, ids: Sequence[int], titles: Mapping[int, str]
) -> dict[str, dict[str, Any]]:
    """By track id: place among its kind, value and title of tracks that may lie between samples."""
    marks = {}
    for track_id in ids:
        row = ranking.index(track_id)
        if row is None:
            continue
        decoy = bool(ranking.is_decoy[row])
        marks[str(track_id)] = {
            "place": int((ranking.is_decoy[: row + 1] == decoy).sum()),
            "decoy": decoy,
            "value": _short(scaled[row : row + 1])[0],
            "title": titles.get(track_id, "")[:TITLE_CHARS],
            "q": format_q(float(ranking.q_value[row])),
        }
    return marks


def _legend(ranking: Ranking, span: Span | None, whole: bool, lined: bool) -> dict[str, str | None]:
    """Texts of the keys; None: this key is not shown."""
    if span is not None:
        out, rest = f"stands out in this span (q ≤ {Q_LIMIT:.2f})", "does not stand out from the decoys"
    else:
        out, rest = "above noise" if whole else "above noise by normalised score", "not distinguishable from noise"
    some = bool((mark_standouts(ranking, span) & ~ranking.is_decoy).any())
    line = "least score above noise" if lined else None
    if whole and not some and ranking.tracks:
        line = "no score is above noise"
    return {
        "out": out if some else None,
        "rest": rest,
        "decoy": "decoy, never heard by the model" if ranking.decoys else None,
        "line": line,
    }


def _caption(ranking: Ranking, span: Span | None) -> str:
    """How to read the two curves."""
    if not ranking.tracks:
        return ""
    if not ranking.decoys:
        return "No decoys were scored: nothing here tells influence from chance."
    text = (
        "A decoy stands where it would if there were as many decoys as tracks: where the two curves lie on each "
        "other, training made no difference."
    )
    if span is None and (found := int((ranking.above_noise & ranking.is_decoy).sum())):
        text += (
            f" {found:,} of {ranking.decoys:,} decoys {'meets' if found == 1 else 'meet'} the criteria of above noise."
        )
    return text

"""The scores of a clip by place -> what curve.js draws. Pure functions; no gradio.

Higher = stronger influence; place 1 = strongest, counted among training tracks or among decoys. Share: a training
track's part of the positive score of all training tracks, in the score on show. A span has normalised scores only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer.store.ranking import NORMALISED, Ranking, Span, mark_standouts
from explorer.text.numbers import choose_exponent, format_error_rate, format_power
from explorer.text.scores import word_caption, word_legend
from explorer.text.tracks import word_place
from explorer.text.verdict import name_span

EVERY_PLACE_TO, LOG_PLACES = 100, 300  # places of tracks that are drawn: all of the first, then log-spaced ones
EVERY_DECOY_TO, LOG_DECOYS = 40, 120
TITLED_TRACKS, TITLED_DECOYS, TITLE_CHARS = 60, 20, 60  # with these a payload stays under 50 kB in any script
DECADES = 3  # of positive scores on the axis
SHARE_COUNTS = (1, 10, 100)


def sample_places(count: int, every_to: int = EVERY_PLACE_TO, spaced: int = LOG_PLACES) -> np.ndarray:
    """Places (from 1) to draw among `count`, ascending: the first `every_to`, then log-spaced, always the last."""
    if count <= every_to:
        return np.arange(1, count + 1)
    tail = np.geomspace(every_to, count, spaced + 1).round().astype(int)
    return np.unique(np.concatenate([np.arange(1, every_to + 1), tail]))


def _round(values: np.ndarray) -> list[float]:
    """Values with four significant digits: more cannot be seen."""
    return [float(f"{value:.4g}") for value in values]


def list_titled(ranking: Ranking) -> list[int]:
    """Ids of the tracks and decoys whose title the curve shows."""
    return [*ranking.first(TITLED_TRACKS), *ranking.first(TITLED_DECOYS, decoys=True)]


def _find_axis(values: np.ndarray) -> tuple[float | None, float | None]:
    """(least, largest) positive value to draw, at most DECADES apart; (None, None) where nothing is positive."""
    positive = values[values > 0]
    if not len(positive):
        return None, None
    high = float(positive.max())
    return max(float(positive.min()), high / 10**DECADES), high


def list_shares(ranking: Ranking) -> tuple[list[int], list[float | None]]:
    """(counts, share that so many first training tracks hold together, 0..1; None: nothing is positive).

    One to three entries, fewer where there are fewer tracks than SHARE_COUNTS; none without tracks.
    """
    counts = sorted({min(count, ranking.tracks) for count in SHARE_COUNTS} - {0})
    total = ranking.share[~ranking.is_decoy]
    return counts, [None if np.isnan(total[n - 1]) else round(float(total[n - 1]), 4) for n in counts]


def describe_curve(
    ranking: Ranking,
    order: str,
    span: Span | None,
    titles: Mapping[int, str],
    selected: int | None,
    also: Sequence[int] = (),
) -> dict[str, Any]:
    """Parallel lists over the sampled places, values divided by a power of ten.

    `also`: tracks whose place the page must know beside the samples (lanes of the player).
    """
    unit = 10.0 ** (exponent := choose_exponent(ranking.value))
    scaled = ranking.value / unit
    out = mark_standouts(ranking, span)
    low, high = _find_axis(scaled)
    training, decoys = np.flatnonzero(~ranking.is_decoy), np.flatnonzero(ranking.is_decoy)
    n, m = len(training), len(decoys)
    places = sample_places(n)
    track_rows = training[places - 1]
    decoy_places = sample_places(m, EVERY_DECOY_TO, LOG_DECOYS)
    counts, shares = list_shares(ranking)
    return {
        "name": f"{order} influence score" + (f", {name_span(span)} of the clip" if span else ""),
        "power": format_power(exponent),
        "counts": counts,
        "shares": shares,
        "low": None if low is None else float(f"{low:.4g}"),
        "high": None if high is None else float(f"{high:.4g}"),
        "cut": bool(low is not None and ((scaled > 0) & (scaled < low)).any()),  # positive values below the axis
        "legend": word_legend(ranking, span, whole=order == NORMALISED and span is None),
        "caption": word_caption(ranking),
        "track": {
            **_list_points(ranking, scaled, training, places, (TITLED_TRACKS, titles)),
            "out": [int(flag) for flag in out[track_rows]],
            "share": [None if math.isnan(part) else float(f"{part:.3g}") for part in ranking.share[track_rows]],
        },
        "decoy": {
            **_list_points(ranking, scaled, decoys, decoy_places, (TITLED_DECOYS, titles)),
            "at": _round(decoy_places * (n / m)) if m else [],  # on the tracks' axis
        },
        "selected": selected,
        "marks": _list_marks(ranking, scaled, [*([] if selected is None else [selected]), *also], titles),
    }


def _list_points(
    ranking: Ranking, scaled: np.ndarray, rows: np.ndarray, places: np.ndarray, titled: tuple[int, Mapping[int, str]]
) -> dict[str, Any]:
    """Parallel lists over the sampled places of tracks or decoys, at `rows` of the ranking.

    `titled`: how many of them have a title, a q-value and the places that they may hold, and all titles by track id.
    """
    count, titles = titled
    sampled = rows[places - 1]
    return {
        "count": len(rows),
        "place": places.tolist(),
        "value": _round(scaled[sampled]),
        "id": ranking.track_id[sampled].tolist(),
        "title": _list_titles(ranking.track_id[sampled[:count]], titles),
        "q": [_word_q(q) for q in ranking.q_value[sampled[:count]].tolist()],
        "may": [word_place(ranking, int(row)) for row in sampled[:count]],
    }


def _word_q(q_value: float) -> str:
    """'' where a track was not tested."""
    return "" if math.isnan(q_value) else format_error_rate(q_value)


def _list_titles(ids: np.ndarray, titles: Mapping[int, str]) -> list[str]:
    return [titles.get(int(track_id), "")[:TITLE_CHARS] for track_id in ids]


def _list_marks(
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
            "value": _round(scaled[row : row + 1])[0],
            "title": titles.get(track_id, "")[:TITLE_CHARS],
            "q": _word_q(float(ranking.q_value[row])),
            "may": word_place(ranking, row),
        }
    return marks

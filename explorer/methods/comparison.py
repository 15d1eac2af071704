"""Two methods side by side -> what compare.js and the heat map draw, and the sentences beside them. No gradio.

Place 1 = strongest, among training tracks. Rank correlations run over the training tracks that both methods scored.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from explorer.methods import cases
from explorer.sound.loudness import limit_gain
from explorer.store.ranking import Ranking
from explorer.store.records import Agreement, MethodRecord, ScoreSample, TrackRecord
from explorer.text.tracks import word_certainty

ROWS = 20  # of each column
POINTS = 500  # of the scatter at most, decoys apart
DECOY_POINTS = 100
TITLE_CHARS = 120
MEASURE_NAMES = {
    "spearman": "rank correlation (Spearman)",
    "pearson": "correlation of scores (Pearson)",
    "top10": "share of the first 10 in common",
    "top100": "share of the first 100 in common",
}


def places(ranking: Ranking, ids: np.ndarray) -> np.ndarray:
    """Place of each of `ids` among the training tracks, int64; 0 where it was not scored."""
    order = np.argsort(ranking.track_id)
    at = np.minimum(np.searchsorted(ranking.track_id, ids, sorter=order), max(0, len(order) - 1))
    if not len(order):
        return np.zeros(len(ids), dtype=np.int64)
    rows = order[at]
    return np.where(ranking.track_id[rows] == ids, ranking.place[rows], 0).astype(np.int64)


def pair(a: Ranking, b: Ranking, labels: tuple[str, str]) -> list[str]:
    """What two rankings of one clip have in common, in plain sentences, with what chance would give."""
    if not a.tracks or not b.tracks:
        return [f"{labels[0] if not a.tracks else labels[1]} did not score this clip: there is nothing to compare."]
    lines = []
    for count in (10, 100):
        first_a, first_b = set(a.first(count)), set(b.first(count))
        if len(first_a) < count or len(first_b) < count:
            continue
        chance = count * count / max(a.tracks, b.tracks)
        both = len(first_a & first_b)
        lines.append(f"Of the first {count}, {both} {'is' if both == 1 else 'are'} the same ({chance:.2g} by chance).")
    ids = a.track_id[~a.is_decoy]
    other = places(b, ids)
    known = other > 0
    rho = cases.pearson(np.flatnonzero(known).astype(float), cases_rank(other[known]))
    if not math.isnan(rho):
        known_as = "the same order" if rho > 0.999 else "1: the same order, 0: unrelated, \N{MINUS SIGN}1: reversed"
        lines.append(f"Rank correlation over {int(known.sum()):,} training tracks: {signed(rho)} ({known_as}).")
    above = [set(r.track_id[r.above_noise & ~r.is_decoy].tolist()) for r in (a, b)]
    if above[0] or above[1]:
        lines.append(
            f"Above noise: {len(above[0]):,} by {labels[0]}, {len(above[1]):,} by {labels[1]}, "
            f"{len(above[0] & above[1]):,} by both."
        )
    else:
        lines.append("Neither method has a track above noise for this clip: what they share is no finding.")
    return lines


def cases_rank(values: np.ndarray) -> np.ndarray:
    """Ranks 0..n-1 of distinct values."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def signed(value: float) -> str:
    """'0.42', with a true minus."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def column(
    own: Ranking,
    other: Ranking,
    label: str,
    tracks: Mapping[int, TrackRecord],
    silent: Mapping[int, str],
    loudness: Mapping[int, float | None],
) -> dict[str, Any]:
    """The first ROWS training tracks of one method, each with its place in the other (None: not scored there)."""
    ids = own.first(ROWS)
    there = places(other, np.array(ids, dtype=np.int64))
    rows = []
    for place, (track_id, elsewhere) in enumerate(zip(ids, there.tolist(), strict=True), start=1):
        track, row = tracks.get(track_id), own.index(track_id)
        if track is None or row is None:
            continue
        rows.append(
            {
                "track_id": track_id,
                "place": place,
                "other": elsewhere or None,
                "title": track.title[:TITLE_CHARS],
                "note": " · ".join(part for part in (track.composer, track.collection) if part)[:TITLE_CHARS],
                "above": bool(own.above_noise[row]),
                "sure": word_certainty(own, track_id),
                "why": silent.get(track_id),
                "gain_db": limit_gain(loudness.get(track_id)),
            }
        )
    return {"label": label, "rows": rows, "tracks": own.tracks}


def scatter(a: Ranking, b: Ranking, titles: Mapping[int, str]) -> dict[str, Any]:
    """Places by one method against places by the other: the first 100 of either, and others at log-spaced places."""
    train = a.track_id[~a.is_decoy]
    picked = np.concatenate([train[_spaced(len(train))], b.track_id[~b.is_decoy][_spaced(b.tracks)]])
    ids = np.unique(picked)
    decoys = a.track_id[a.is_decoy]
    decoys = decoys[_spaced(len(decoys), DECOY_POINTS, 20)]
    return {
        "count": [a.tracks, b.tracks],
        "track": _points(a, b, ids, titles),
        "decoy": _points(a, b, decoys, titles),
    }


def _spaced(count: int, most: int = POINTS // 2, every: int = 100) -> np.ndarray:
    """Indices: the first `every`, then log-spaced ones, `most` in all."""
    if count <= most:
        return np.arange(count)
    tail = np.geomspace(every, count - 1, most - every).astype(int)
    return np.unique(np.concatenate([np.arange(every), tail]))


def _points(a: Ranking, b: Ranking, ids: np.ndarray, titles: Mapping[int, str]) -> dict[str, list[Any]]:
    x, y = places(a, ids), places(b, ids)
    known = (x > 0) & (y > 0)
    kept = ids[known].tolist()
    return {"id": kept, "x": x[known].tolist(), "y": y[known].tolist(), "title": [titles.get(i, "")[:60] for i in kept]}


def measured(
    methods: Sequence[MethodRecord], tops: Mapping[int, Any], samples: Mapping[int, ScoreSample], clips: set[int]
) -> list[Agreement]:
    """Agreement of every pair of methods where the run stored none: the same means, over `clips`.

    Correlations are of the sampled tracks' normalised scores.
    """
    found = []
    ranks = {method: cases.ranked(sample) for method, sample in samples.items()}
    chosen = {(method, count): cases.firsts(top, count) for method, top in tops.items() for count in (10, 100)}
    for a, b in combinations([method.method_id for method in methods], 2):
        rows = {int(clip): i for i, clip in enumerate(samples[b].clip_id)}
        both = [(i, rows[int(c)]) for i, c in enumerate(samples[a].clip_id) if int(c) in rows and int(c) in clips]
        values = [cases.aligned(samples[a], samples[a].value[i], samples[b], samples[b].value[j]) for i, j in both]
        rho = [cases.clip_spearman(ranks[a], i, ranks[b], j) for i, j in both]
        shared = []
        for count in (10, 100):
            one, other = chosen[a, count], chosen[b, count]
            shared.append(cases.mean([cases.overlap(one[c], other[c]) for c in clips & set(one) & set(other)]))
        numbers = [cases.mean([cases.pearson(*pair) for pair in values]), cases.mean(rho), *shared]
        if not any(math.isnan(number) for number in numbers):
            found += [Agreement(a, b, *numbers), Agreement(b, a, *numbers)]
    return found


def heat(methods: Sequence[MethodRecord], found: Sequence[Agreement], measure: str) -> str | None:
    """The heat map of `measure` as plotly's JSON; None without two methods that can be compared."""
    import plotly.graph_objects as go  # 0.3 s and 30 MB: only for who opens the tab

    if not found:
        return None
    by_pair = {(one.method_a, one.method_b): one for one in found}
    ids, labels = [m.method_id for m in methods], [html.escape(m.label[:40]) for m in methods]
    cells: list[list[float | None]] = [[None if a == b else _cell(by_pair, a, b, measure) for b in ids] for a in ids]
    text = [["" if value is None else signed(value) for value in row] for row in cells]
    details = [["" if a == b else _detail(by_pair.get((a, b))) for b in ids] for a in ids]
    low = -1.0 if measure in ("spearman", "pearson") else 0.0
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            x=labels,
            y=labels,
            text=text,
            customdata=details,
            texttemplate="%{text}",
            hovertemplate="%{y} and %{x}<br>%{customdata}<extra></extra>",
            zmin=low,
            zmax=1.0,
            colorscale=_COLOURS[low < 0],
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": ""}, "thickness": 12, "len": 0.9, "outlinewidth": 0},
            hoverongaps=False,
        )
    )
    figure.update_layout(
        template=None,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=max(240, 110 + 46 * len(methods)),
        font={"family": "Inter, system-ui, sans-serif", "size": 13},
        xaxis={"automargin": True, "showgrid": False, "zeroline": False, "fixedrange": True, "side": "bottom"},
        yaxis={"automargin": True, "showgrid": False, "zeroline": False, "fixedrange": True, "autorange": "reversed"},
    )
    return str(figure.to_json())


_COLOURS = {
    True: [[0.0, "#b45309"], [0.5, "#f5f5f4"], [1.0, "#0f766e"]],  # from reversed over unrelated to the same
    False: [[0.0, "#f5f5f4"], [1.0, "#0f766e"]],
}


def _cell(by_pair: Mapping[tuple[int, int], Agreement], a: int, b: int, measure: str) -> float | None:
    one = by_pair.get((a, b))
    return None if one is None else round(float(getattr(one, measure)), 4)


def _detail(one: Agreement | None) -> str:
    """All measures of a pair, for the pointer that rests on it."""
    if one is None:
        return "not compared"
    return "<br>".join(f"{name}: {signed(getattr(one, measure))}" for measure, name in MEASURE_NAMES.items())

"""Two methods on one clip -> what comparison.js draws. Pure functions; no gradio.

Place 1 = strongest, among training tracks. Rank correlations run over the training tracks that both methods scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from explorer.methods.correlation import correlate
from explorer.sound.loudness import limit_gain
from explorer.store.ranking import Ranking
from explorer.store.records import TrackRecord
from explorer.text.comparison import SharedFirst, SharedTracks
from explorer.text.tracks import word_certainty, word_place

ROWS = 20  # of each column
POINTS = 500  # of the scatter at most, decoys apart
DECOY_POINTS = 100
TITLE_CHARS = 120


@dataclass(frozen=True)
class ComparedTrack:
    """A track that stands in a column, and how it is heard."""

    track: TrackRecord
    refusal: str | None  # why it cannot be played; None where it can
    loudness_lufs: float | None


def find_places(ranking: Ranking, ids: np.ndarray) -> np.ndarray:
    """Place of each of `ids` among the training tracks, int64; 0 where it was not scored."""
    order = np.argsort(ranking.track_id)
    at = np.minimum(np.searchsorted(ranking.track_id, ids, sorter=order), max(0, len(order) - 1))
    if not len(order):
        return np.zeros(len(ids), dtype=np.int64)
    rows = order[at]
    return np.where(ranking.track_id[rows] == ids, ranking.place[rows], 0).astype(np.int64)


def compare_rankings(a: Ranking, b: Ranking) -> SharedTracks:
    """Count the tracks that two rankings of one clip have in common, beside what chance would give."""
    counts = []
    for count in (10, 100):
        first_a, first_b = set(a.first(count)), set(b.first(count))
        if len(first_a) == len(first_b) == count:
            counts.append(SharedFirst(count, len(first_a & first_b), count * count / max(a.tracks, b.tracks)))
    other = find_places(b, a.track_id[~a.is_decoy])
    known = other > 0
    above_a, above_b = (set(r.track_id[r.above_noise & ~r.is_decoy].tolist()) for r in (a, b))
    return SharedTracks(
        tracks=(a.tracks, b.tracks),
        first=tuple(counts),
        scored_by_both=int(known.sum()),
        rank_correlation=correlate(np.flatnonzero(known).astype(float), _rank(other[known])),
        above_noise=(len(above_a), len(above_b)),
        above_noise_by_both=len(above_a & above_b),
    )


def _rank(values: np.ndarray) -> np.ndarray:
    """Ranks 0..n-1 of distinct values."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def describe_column(own: Ranking, other: Ranking, label: str, tracks: Mapping[int, ComparedTrack]) -> dict[str, Any]:
    """The first ROWS training tracks of one method, with the places that each may hold by it, and by the other
    (None: not scored there).
    """
    ids = own.first(ROWS)
    rows = []
    for track_id in ids:
        compared, row, elsewhere = tracks.get(track_id), own.index(track_id), other.index(track_id)
        if compared is None or row is None:
            continue
        track = compared.track
        rows.append(
            {
                "track_id": track_id,
                "place": word_place(own, row),
                "other": None if elsewhere is None else word_place(other, elsewhere),
                "title": track.title[:TITLE_CHARS],
                "note": " · ".join(part for part in (track.composer, track.collection) if part)[:TITLE_CHARS],
                "above": bool(own.above_noise[row]),
                "sure": word_certainty(own, track_id),
                "why": compared.refusal,
                "gain_db": limit_gain(compared.loudness_lufs),
            }
        )
    return {"label": label, "rows": rows, "tracks": own.tracks}


def choose_points(a: Ranking, b: Ranking, titles: Mapping[int, str]) -> dict[str, Any]:
    """Places by one method against places by the other: the first 100 of either, and others at log-spaced places."""
    train = a.track_id[~a.is_decoy]
    picked = np.concatenate([train[_space_indices(len(train))], b.track_id[~b.is_decoy][_space_indices(b.tracks)]])
    ids = np.unique(picked)
    decoys = a.track_id[a.is_decoy]
    decoys = decoys[_space_indices(len(decoys), DECOY_POINTS, 20)]
    return {
        "count": [a.tracks, b.tracks],
        "track": _list_places(a, b, ids, titles),
        "decoy": _list_places(a, b, decoys, titles),
    }


def _space_indices(count: int, most: int = POINTS // 2, every: int = 100) -> np.ndarray:
    """Indices: the first `every`, then log-spaced ones, `most` in all."""
    if count <= most:
        return np.arange(count)
    tail = np.geomspace(every, count - 1, most - every).astype(int)
    return np.unique(np.concatenate([np.arange(every), tail]))


def _list_places(a: Ranking, b: Ranking, ids: np.ndarray, titles: Mapping[int, str]) -> dict[str, list[Any]]:
    x, y = find_places(a, ids), find_places(b, ids)
    known = (x > 0) & (y > 0)
    track_ids = ids[known].tolist()
    return {
        "id": track_ids,
        "x": x[known].tolist(),
        "y": y[known].tolist(),
        "title": [titles.get(i, "")[:60] for i in track_ids],
    }

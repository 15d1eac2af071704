"""The ranking of all tracks by what a span of the clip draws from them, and its test of above noise.

A track's score in a span is the sum over the span's windows, divided by the standard deviation of the track's windows
in other clips; no mean is subtracted, as in a whole score. The test is that of whole clips, above_noise.py, with the
sum itself: candidates are compared with the decoys of their match bin in all generated clips of the same run that have
windows, over the same window numbers (as far as the clip is long). A span has no standard error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explorer.store.above_noise import OTHER, PairClaims, judge_pairs
from explorer.store.ranking import Ranking, Span, build_ranking, sort_rows
from explorer.store.store import Store


@dataclass(frozen=True)
class SpanNulls:
    """Decoys of the tested bins in the generated clips of a run; arrays [M], one entry a (clip, decoy) pair."""

    clip_id: np.ndarray  # int
    track_id: np.ndarray  # int
    match_bin: np.ndarray  # int
    value: np.ndarray  # float: sum over the span


def rank_span(store: Store, method_id: int, clip_id: int, span: Span) -> Ranking:
    """All tracks by their score in a span; ties by track id. p- and q-values are the span's."""
    columns = dict(store.scores.read_columns(method_id, clip_id))
    windows = store.scores.read_span(method_id, clip_id, span.first, span.last)
    total = windows["total"]
    value = scale_sums(total, windows["spread"])
    # Every track has windows where any has; the two queries may order them differently.
    if not np.array_equal(windows["track_id"], columns["track_id"]):
        by_id = np.argsort(windows["track_id"], kind="stable")
        places = by_id[np.searchsorted(windows["track_id"][by_id], columns["track_id"])]
        value, total = value[places], total[places]
    clip = store.clips.read(clip_id)
    nulls = read_nulls(store, method_id, clip.run_id, span)
    others = nulls.clip_id != clip_id
    nulls = SpanNulls(nulls.clip_id[others], nulls.track_id[others], nulls.match_bin[others], nulls.value[others])
    columns |= {"value": value, "total": total}
    rows, claims = judge_span(columns, nulls, store.tracks.read_works(), clip.kind == "generated")
    for name, found in (("p_value", claims.p_value[0]), ("q_value", claims.q_value[0])):
        columns[name] = np.full(len(value), np.nan)
        columns[name][rows] = found[: len(rows)]
    bins = tuple(sorted(claims.bins, key=lambda one: -one.match_bin))
    return build_ranking(columns, sort_rows(columns["track_id"], value), bins, of_span=True)


def scale_sums(total: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Sums over a span in units of the track's own spread over windows; a track that never varies keeps its sum."""
    return total / np.where(spread > 0, spread, 1.0)


def read_nulls(store: Store, method_id: int, run_id: int, span: Span) -> SpanNulls:
    """Sums over the span's windows of every decoy in a tested bin, in all generated clips of a run."""
    windows = store.scores.read_decoy_windows(method_id, run_id)
    inside = windows["influence"][:, span.first - 1 : span.last]
    reaches = np.isfinite(inside).any(1)  # a shorter clip may end before the span begins
    value = np.nansum(inside[reaches].astype(float), axis=1)
    return SpanNulls(windows["clip_id"][reaches], windows["track_id"][reaches], windows["match_bin"][reaches], value)


def judge_span(
    columns: dict[str, np.ndarray], nulls: SpanNulls, works: tuple[np.ndarray, np.ndarray], gives_nulls: bool
) -> tuple[np.ndarray, PairClaims]:
    """(rows of `columns` that stand in a tested bin, their claims: arrays [1, at least as many], in this order).

    `columns`: track_id, is_decoy, match_bin and total of the clip, by track id; `nulls`: of other clips; `works`: of
    `TrackReader.read_works`; `gives_nulls`: the clip's own decoys are among the nulls.
    """
    rows = np.flatnonzero(columns["match_bin"] != OTHER)
    own = columns["track_id"][rows]
    tracks = np.concatenate([own, np.setdiff1d(nulls.track_id, own)])  # the rows, then decoys of other clips alone
    is_decoy = np.ones(len(tracks), bool)
    is_decoy[: len(rows)] = columns["is_decoy"][rows]
    clips, at_clip = np.unique(nulls.clip_id, return_inverse=True)
    score = np.zeros((1 + len(clips), len(tracks)))
    match_bin = np.full(score.shape, OTHER)
    score[0, : len(rows)], match_bin[0, : len(rows)] = columns["total"][rows], columns["match_bin"][rows]
    by_id = np.argsort(tracks)
    at_track = by_id[np.searchsorted(tracks[by_id], nulls.track_id)]
    score[1 + at_clip, at_track], match_bin[1 + at_clip, at_track] = nulls.value, nulls.match_bin
    ids, numbers = works
    work = numbers[np.searchsorted(ids, tracks)]
    enters = np.ones(len(score), bool)
    enters[0] = gives_nulls
    return rows, judge_pairs(score, np.zeros((1, len(tracks))), match_bin, is_decoy, work, 1, enters)

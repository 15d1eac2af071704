"""The ranking of all tracks for one clip: by normalised score, by raw score, or by the score of a span of the clip.

Arrays run over N tracks, strongest first, training tracks and decoys together. Higher = stronger influence. A decoy is
what the clip's own model never heard: a model tuned on some decoys has these as training tracks. spans.py makes the
rankings of spans.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from explorer.store.above_noise import FALSE_RATE, BinRecord
from explorer.store.places import PlaceIntervals, compute_place_intervals
from explorer.store.store import Store

NORMALISED, RAW = "normalised", "raw"


@dataclass(frozen=True)
class Span:
    """Windows of a clip, counted from 1, both ends included; `window_s` seconds each."""

    first: int
    last: int
    window_s: float
    length_s: float = math.inf  # of the clip: its last window may reach beyond

    @property
    def from_s(self) -> float:
        """Where the span begins in the clip, seconds."""
        return (self.first - 1) * self.window_s

    @property
    def to_s(self) -> float:
        """Where the span ends in the clip, seconds."""
        return min(self.last * self.window_s, self.length_s)


@dataclass(frozen=True)
class Ranking:
    """Arrays [N], strongest first."""

    track_id: np.ndarray  # int32
    is_decoy: np.ndarray  # bool: the model of this clip never heard it
    value: np.ndarray  # float64: the score of this order
    error: np.ndarray | None  # float64: standard error of `value`; None for a span, which has none
    match_bin: np.ndarray  # uint8: of above_noise.py
    p_value: np.ndarray  # float64, NaN where nothing is said: of the whole clip, or of the span where there is one
    q_value: np.ndarray  # float64, NaN where nothing is said: as p_value
    above_noise: np.ndarray  # bool: for the whole clip, by the normalised score, in every order
    bins: tuple[BinRecord, ...]  # what the p-values rest on

    @cached_property
    def place(self) -> np.ndarray:
        """Place among the training tracks, from 1; of a decoy, the place that a track of its score would take."""
        return np.cumsum(~self.is_decoy, dtype=np.int32) + self.is_decoy

    @cached_property
    def intervals(self) -> PlaceIntervals:
        """The places that each track may hold by the error of its score; in a span, its place alone."""
        if self.error is None:
            return PlaceIntervals(self.place, self.place)
        training = self.value[~self.is_decoy][::-1]
        return compute_place_intervals(self.value, self.error, training, ~self.is_decoy)

    @cached_property
    def by_id(self) -> np.ndarray:
        """Rows by track id."""
        return np.argsort(self.track_id, kind="stable")

    @cached_property
    def tracks(self) -> int:
        """Number of training tracks."""
        return int((~self.is_decoy).sum())

    @cached_property
    def decoys(self) -> int:
        """Number of decoys."""
        return int(self.is_decoy.sum())

    @cached_property
    def share(self) -> np.ndarray:
        """Share of the positive score that the training tracks hold so far, 0..1; NaN where nothing is positive."""
        positive = np.where(self.is_decoy, 0.0, np.maximum(self.value, 0.0))
        total = positive.sum()
        return np.cumsum(positive) / total if total > 0 else np.full(len(positive), np.nan)

    def index(self, track_id: int) -> int | None:
        """Find the row of a track in the arrays, from 0; None where it was not scored."""
        here = self.track_id == track_id
        row = int(here.argmax()) if len(here) else 0  # stops at the first
        return row if len(here) and here[row] else None

    def at(self, place: int, decoy: bool = False) -> int | None:
        """The training track at `place`, or the decoy at `place` among decoys; None where there is none."""
        of_kind = np.flatnonzero(self.is_decoy == decoy)
        return int(self.track_id[of_kind[place - 1]]) if 1 <= place <= len(of_kind) else None

    def first(self, count: int, decoys: bool = False) -> list[int]:
        """The ids of the `count` strongest training tracks, or decoys."""
        return [int(i) for i in self.track_id[np.flatnonzero(self.is_decoy == decoys)[:count]]]


def find_intervals(ranking: Ranking, track_ids: Sequence[int]) -> PlaceIntervals:
    """The places that some tracks may hold in a ranking, in the order of `track_ids`; all must be in it."""
    rows = ranking.by_id[np.searchsorted(ranking.track_id, np.asarray(track_ids, dtype=int), sorter=ranking.by_id)]
    return PlaceIntervals(ranking.intervals.best[rows], ranking.intervals.worst[rows])


def rank_clip(store: Store, method_id: int, clip_id: int, order: str) -> Ranking:
    """All tracks of a clip by normalised or by raw score; ties by track id."""
    columns = store.scores.read_columns(method_id, clip_id)
    bins = store.claims.read_bins(method_id, clip_id)
    if order == NORMALISED:
        value, error, rows = columns["score_norm"], columns["std_error_norm"], _find_stored_order(columns)
    else:
        value, error, rows = columns["score"], columns["std_error"], None
    rows = sort_rows(columns["track_id"], value) if rows is None else rows
    return build_ranking({**columns, "value": value, "error": error}, rows, bins)


def _find_stored_order(columns: dict[str, np.ndarray]) -> np.ndarray | None:
    """Rows from rank 1 on, which saves sorting them; None where the ranks are not 1..N, or do not follow the scores."""
    rank = columns["rank"]
    if len(rank) and rank.max() > len(rank):
        return None
    order = np.full(len(rank), -1)
    order[rank - 1] = np.arange(len(rank))
    value = columns["score_norm"][order]
    return order if (order >= 0).all() and (value[:-1] >= value[1:]).all() else None


def sort_rows(track_id: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Rows [N] by value, strongest first; ties by track id."""
    order = np.argsort(-value)  # not stable, but much faster
    if (value[order][1:] == value[order][:-1]).any():
        order = np.lexsort((track_id, -value))
    return order


def build_ranking(
    columns: dict[str, np.ndarray], order: np.ndarray, bins: tuple[BinRecord, ...], of_span: bool = False
) -> Ranking:
    """The ranking of `columns` [N] (of `ScoreReader.read_columns`, with value and error) at the rows `order`."""
    return Ranking(
        track_id=columns["track_id"][order],
        is_decoy=columns["is_decoy"][order],
        value=columns["value"][order].astype(float),
        error=None if of_span else columns["error"][order].astype(float),
        match_bin=columns["match_bin"][order],
        p_value=columns["p_value"][order].astype(float),
        q_value=columns["q_value"][order].astype(float),
        above_noise=columns["above_noise"][order],
        bins=bins,
    )


def mark_standouts(ranking: Ranking, span: Span | None) -> np.ndarray:
    """[N] bool: above noise, for the whole clip or in a span."""
    return ranking.above_noise if span is None else np.nan_to_num(ranking.q_value, nan=1.0) <= FALSE_RATE

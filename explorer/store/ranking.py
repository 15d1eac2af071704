"""The ranking of all tracks for one clip: by normalised score, by raw score, or by the score of a span of the clip.

Arrays run over N tracks, strongest first, training tracks and decoys together. Higher = stronger influence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from explorer.store.store import Store

NORMALISED, RAW = "normalised", "raw"
Q_LIMIT = 0.10  # that of above noise: `precompute.significance.q_values` defines it, and this repeats it for spans


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
    is_decoy: np.ndarray  # bool
    value: np.ndarray  # float64: the score of this order
    q_value: np.ndarray  # float64 in 0..1: of the normalised score, or of the span where there is one
    above_noise: np.ndarray  # bool: for the whole clip, by the normalised score, in every order

    @cached_property
    def place(self) -> np.ndarray:
        """Place among the training tracks, from 1; of a decoy, the place that a track of its score would take."""
        return np.cumsum(~self.is_decoy, dtype=np.int32) + self.is_decoy

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


def rank_clip(store: Store, method_id: int, clip_id: int, order: str) -> Ranking:
    """All tracks of a clip by normalised or by raw score; ties by track id."""
    columns = store.scores.read_columns(method_id, clip_id)
    if order == NORMALISED:
        return _build_ranking(columns, columns["score_norm"], columns["q_value"], _find_stored_order(columns))
    return _build_ranking(columns, columns["score"], columns["q_value"])


def rank_span(store: Store, method_id: int, clip_id: int, span: Span) -> Ranking:
    """All tracks by what a span of the clip draws from them.

    The sum over the span is compared with the same track's windows in other clips (z-norm), then with the training
    tracks of this span (t-norm). Unlike a whole score it keeps what all tracks do alike: the store holds no windows of
    the cohort. q-values: from decoys, by target-decoy competition; there is no standard error.
    """
    windows = store.scores.read_span(method_id, clip_id, span.first, span.last)
    count = span.last - span.first + 1
    spread = np.where(windows["spread"] > 0, windows["spread"], 1.0)
    z = (windows["total"] - count * windows["mean"]) / spread
    columns = store.scores.read_columns(method_id, clip_id)
    # Every track has windows where any has; the two queries may order them differently.
    if not np.array_equal(windows["track_id"], columns["track_id"]):
        by_id = np.argsort(windows["track_id"], kind="stable")
        z = z[by_id][np.searchsorted(windows["track_id"][by_id], columns["track_id"])]
    training = z[~columns["is_decoy"]]
    width = float(training.std(ddof=1)) if len(training) > 1 else 0.0
    value = (z - training.mean()) / (width or 1.0)
    counted = ~np.isin(columns["track_id"], store.tracks.list_planted())
    return _build_ranking(columns, value, compute_q_values(value, columns["is_decoy"], counted))


def _find_stored_order(columns: dict[str, np.ndarray]) -> np.ndarray | None:
    """Rows from rank 1 on, which saves sorting them; None where the ranks are not 1..N, or do not follow the scores."""
    rank = columns["rank"]
    if len(rank) and rank.max() > len(rank):
        return None
    order = np.full(len(rank), -1)
    order[rank - 1] = np.arange(len(rank))
    value = columns["score_norm"][order]
    return order if (order >= 0).all() and (value[:-1] >= value[1:]).all() else None


def _build_ranking(
    columns: dict[str, np.ndarray], value: np.ndarray, q_value: np.ndarray, order: np.ndarray | None = None
) -> Ranking:
    """`order`: the rows, strongest first, where it is known."""
    if order is None:
        order = np.argsort(-value)  # not stable, but much faster
        if (value[order][1:] == value[order][:-1]).any():
            order = np.lexsort((columns["track_id"], -value))
    return Ranking(
        track_id=columns["track_id"][order],
        is_decoy=columns["is_decoy"][order],
        value=value[order],
        q_value=q_value[order],
        above_noise=columns["above_noise"][order],
    )


def mark_standouts(ranking: Ranking, span: Span | None) -> np.ndarray:
    """[N] bool: above noise; in a span, which has no error of its own, by the q-value of a positive score."""
    return ranking.above_noise if span is None else (ranking.q_value <= Q_LIMIT) & (ranking.value > 0)


def compute_q_values(value: np.ndarray, is_decoy: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Rate of false discoveries of calling a track and all above it influential, [N] in 0..1.

    FDR(s) = min(1, (1 + decoys >= s)(tracks / decoys) / max(1, tracks >= s)), then the least rate of any lower
    threshold: target-decoy competition (Elias & Gygi 2007). Without decoys every value is 1. The stored
    q-values of whole scores are from `precompute.significance.q_values`, which a test holds to this.
    `counted` [N] bool: which enter the counts; planted cases do not, and are only given values.
    """
    counted = np.ones(len(value), bool) if counted is None else counted
    decoys, tracks = int((is_decoy & counted).sum()), int((~is_decoy & counted).sum())
    if not decoys or not tracks:
        return np.ones(len(value))
    order = np.argsort(-value, kind="stable")
    sorted_value, of_decoy, counts = value[order], is_decoy[order], counted[order]
    last_of_tie = np.searchsorted(-sorted_value, -sorted_value, side="right") - 1
    decoys_above = np.cumsum(of_decoy & counts)[last_of_tie]
    tracks_above = np.cumsum(~of_decoy & counts)[last_of_tie]
    rate = np.minimum(1.0, (1 + decoys_above) * (tracks / decoys) / np.maximum(1, tracks_above))
    rate[~counts] = 1.0  # no threshold of its own: takes that of the next counted one below
    lower = np.minimum.accumulate(rate[::-1])[::-1]
    result = np.empty(len(value))
    result[order] = lower[np.searchsorted(-sorted_value, -sorted_value, side="left")]  # of a tie, the first sees all
    return result

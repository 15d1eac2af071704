"""Agreement of two methods on the tracks of one clip: correlations, and tracks that both rank first. No gradio.

Ranks are within a clip. Only tracks that both methods scored count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from explorer.store.records import ScoreSample


def correlate_ranks(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation where both are numbers; NaN for fewer than three pairs, or a constant."""
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 3:
        return float("nan")
    ranks = [pd.Series(values[both]).rank().to_numpy() for values in (a, b)]
    return correlate(*ranks)


def correlate(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation where both are numbers; NaN for fewer than three pairs, or a constant."""
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(np.corrcoef(a[both], b[both])[0, 1])


def list_first_tracks(top: pd.DataFrame, first: int) -> dict[int, set[int]]:
    """The first `first` training tracks of each clip, by clip id; `top`: of `ScoreReader.read_top`."""
    rows = top[(top["train_rank"] <= first).fillna(False)]
    return {int(clip): set(ids) for clip, ids in rows.groupby("clip_id")["track_id"]}


def measure_overlap(a: set[int], b: set[int]) -> float:
    """Share of the shorter of two lists of first tracks that both have, 0..1; NaN where one is empty."""
    return len(a & b) / min(len(a), len(b)) if a and b else float("nan")


def rank_scores(sample: ScoreSample) -> ScoreSample:
    """The sample with ranks in place of scores, within each clip."""
    return replace(sample, value=pd.DataFrame(sample.value).rank(axis=1).to_numpy())


def correlate_clip(a: ScoreSample, row_a: int, b: ScoreSample, row_b: int) -> float:
    """Rank correlation of two methods for one clip; `a` and `b` as of `rank_scores`."""
    x, y = align_scores(a, a.value[row_a], b, b.value[row_b])
    if len(x) == len(a.track_id) == len(b.track_id) and not (np.isnan(x) | np.isnan(y)).any():
        return correlate(x, y)  # ranks of the same tracks
    return correlate_ranks(x, y)


def align_scores(
    a: ScoreSample, values_a: np.ndarray, b: ScoreSample, values_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the tracks that both samples hold, in the same order."""
    if np.array_equal(a.track_id, b.track_id):
        return values_a, values_b
    _, in_a, in_b = np.intersect1d(a.track_id, b.track_id, return_indices=True)
    return values_a[in_a], values_b[in_b]


def average(values: Sequence[float]) -> float:
    """Mean of the values that are numbers; NaN where none is."""
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")

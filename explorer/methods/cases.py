"""Hard cases: where the scores of a store look wrong. Pure functions over what `Store` gives; no gradio.

The page and `explorer/examples/error_analysis.py` show the same lists. A case is a lead to listen to, no verdict.
Score: higher = stronger influence; place 1 = strongest, among training tracks; `rank` counts decoys too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from explorer.state.queries import FIRST_PLACES
from explorer.store.records import ScoreSample

QUIET_LUFS = -40.0  # below this a track is near-silent
SHORT_PART = 0.25  # of the usual (median) length: shorter is very short
UNCOUNTED = ("random", "ensemble")  # methods that say nothing of their own: not counted where all are compared
KINDS = {
    "disagree": "clips where methods disagree most",
    "hubs": "hubs: tracks high for many clips",
    "decoys": "decoys high up",
    "quiet": "near-silent tracks high up",
    "short": "very short tracks high up",
}


def high(top: pd.DataFrame, first: int) -> pd.DataFrame:
    """The training tracks among the first `first` of each clip that is no control, of `ScoreReader.read_top`."""
    return top[(top["train_rank"] <= first).fillna(False) & (top["clip_kind"] != "track")]


def hubs(top: pd.DataFrame, first: int = FIRST_PLACES[0]) -> pd.DataFrame:
    """Tracks that are among the first `first` of several clips, most clips first.

    Columns: track_id, clips (how many), of (clips in all), best_rank, best_clip, mean_norm (over those clips), q_value
    and above_noise (for the best clip), title, composer, collection, planted. Chance: a track comes up for clips ×
    first / tracks of them.
    """
    rows = high(top, first).sort_values(["train_rank", "clip_id"], kind="stable")
    of = int(top.loc[top["clip_kind"] != "track", "clip_id"].nunique())
    found = rows.groupby("track_id", as_index=False).agg(
        clips=("clip_id", "size"),
        best_rank=("train_rank", "first"),
        best_clip=("clip_id", "first"),
        mean_norm=("score_norm", "mean"),
        q_value=("q_value", "first"),
        above_noise=("above_noise", "first"),
        title=("title", "first"),
        composer=("composer", "first"),
        collection=("collection", "first"),
        planted=("planted", lambda values: values.iloc[0]),
    )
    found.insert(2, "of", of)
    found = found[found["clips"] > 1]
    return found.sort_values(["clips", "mean_norm", "track_id"], ascending=[False, False, True], ignore_index=True)


def decoys_high(top: pd.DataFrame, first: int = FIRST_PLACES[0]) -> pd.DataFrame:
    """Decoys among the first `first` of all, in any clip, the highest first: the rows of `ScoreReader.read_top`."""
    rows = top[top["is_decoy"] & (top["rank"] <= first)]
    return rows.sort_values(["rank", "score_norm"], ascending=[True, False], kind="stable", ignore_index=True)


def quiet(top: pd.DataFrame, first: int = FIRST_PLACES[0], below_lufs: float = QUIET_LUFS) -> pd.DataFrame:
    """Near-silent training tracks high up: quieter than `below_lufs`, or with audio in which no loudness was found
    (silence, or less than the 0.4 s that a measurement takes). The quietest first: rows of `ScoreReader.read_top`.
    """
    rows = high(top, first)
    loudness = rows["loudness_lufs"].where(rows["loudness_lufs"].notna() | ~rows["has_audio"], -np.inf)
    rows = rows.assign(_level=loudness)[loudness < below_lufs]
    return rows.sort_values(["_level", "train_rank", "clip_id"], ignore_index=True).drop(columns="_level")


def short(top: pd.DataFrame, usual_s: float, first: int = FIRST_PLACES[0], part: float = SHORT_PART) -> pd.DataFrame:
    """Training tracks high up that are shorter than `part` of the usual length `usual_s`; the shortest first."""
    rows = high(top, first)
    rows = rows[rows["duration_s"] < part * usual_s]
    return rows.sort_values(["duration_s", "train_rank", "clip_id"], ignore_index=True)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation over the places where both are numbers; NaN below three of them, or where one is constant."""
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 3:
        return float("nan")
    ranks = [pd.Series(values[both]).rank().to_numpy() for values in (a, b)]
    return pearson(*ranks)


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation over the places where both are numbers; NaN below three of them, or where one is constant."""
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(np.corrcoef(a[both], b[both])[0, 1])


def firsts(top: pd.DataFrame, first: int) -> dict[int, set[int]]:
    """By clip: its first `first` training tracks."""
    rows = top[(top["train_rank"] <= first).fillna(False)]
    return {int(clip): set(ids) for clip, ids in rows.groupby("clip_id")["track_id"]}


def overlap(a: set[int], b: set[int]) -> float:
    """Share of the shorter of two lists of first tracks that both have, 0..1; NaN where one is empty."""
    return len(a & b) / min(len(a), len(b)) if a and b else float("nan")


def disagreements(
    tops: Mapping[int, pd.DataFrame], samples: Mapping[int, ScoreSample], first: int = FIRST_PLACES[0]
) -> pd.DataFrame:
    """Clips by how little methods agree, least first: means over all pairs of the methods given.

    Columns: clip_id, methods (that scored it), spearman (of the sampled training tracks' normalised scores), overlap
    (share of the first `first` training tracks that both have). A clip that fewer than two methods scored has no row.
    """
    chosen = {method: firsts(top, first) for method, top in tops.items()}
    at = {method: {int(clip): i for i, clip in enumerate(sample.clip_id)} for method, sample in samples.items()}
    ranks = {method: ranked(sample) for method, sample in samples.items()}
    rows = []
    for clip in sorted({clip for found in at.values() for clip in found}):
        methods = [method for method in samples if clip in at[method]]
        pairs = list(combinations(methods, 2))
        if not pairs:
            continue
        rho = [clip_spearman(ranks[a], at[a][clip], ranks[b], at[b][clip]) for a, b in pairs]
        both = [overlap(chosen[a].get(clip, set()), chosen[b].get(clip, set())) for a, b in pairs]
        rows.append((clip, len(methods), mean(rho), mean(both)))
    found = pd.DataFrame(rows, columns=["clip_id", "methods", "spearman", "overlap"])
    return found.sort_values(["spearman", "overlap", "clip_id"], ignore_index=True)


def ranked(sample: ScoreSample) -> ScoreSample:
    """Ranks in place of scores, within each clip."""
    return replace(sample, value=pd.DataFrame(sample.value).rank(axis=1).to_numpy())


def clip_spearman(a: ScoreSample, row_a: int, b: ScoreSample, row_b: int) -> float:
    """Rank correlation of two methods for one clip; `a` and `b` as of `ranked`."""
    x, y = aligned(a, a.value[row_a], b, b.value[row_b])
    if len(x) == len(a.track_id) == len(b.track_id) and not (np.isnan(x) | np.isnan(y)).any():
        return pearson(x, y)  # ranks of the same tracks
    return spearman(x, y)


def aligned(
    a: ScoreSample, values_a: np.ndarray, b: ScoreSample, values_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the tracks that both samples hold, in the same order."""
    if np.array_equal(a.track_id, b.track_id):
        return values_a, values_b
    _, in_a, in_b = np.intersect1d(a.track_id, b.track_id, return_indices=True)
    return values_a[in_a], values_b[in_b]


def mean(values: Sequence[float]) -> float:
    """Of those that are numbers; NaN without any."""
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def matching(frame: pd.DataFrame, text: str, columns: Sequence[str]) -> pd.DataFrame:
    """Rows whose `columns` together hold every word of `text`, case apart."""
    words = text.casefold().split()
    if not words or frame.empty:
        return frame
    held = frame[list(columns)].fillna("").astype(str).agg(" ".join, axis=1).str.casefold()
    keep = pd.Series(True, index=frame.index)
    for word in words:
        keep &= held.str.contains(word, regex=False)
    return frame[keep]

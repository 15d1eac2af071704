"""Hard cases: where the scores of a store look wrong. Pure functions over `ScoreReader.read_top`; no gradio.

The page and `explorer/examples/error_analysis.py` show the same lists. A case is a lead to listen to, no verdict.
Score: higher = stronger influence; place 1 = strongest, among training tracks; `rank` counts decoys too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from explorer.methods.correlation import average, correlate_clip, list_first_tracks, measure_overlap, rank_scores
from explorer.state.queries import FIRST_PLACES
from explorer.store.records import ScoreSample

QUIET_LUFS = -40.0  # below this a track is near-silent
SHORT_PART = 0.25  # of the usual (median) length: shorter is very short
UNCOMPARED = ("random", "ensemble")  # methods without a judgement of their own: left out where all are compared


def select_high(top: pd.DataFrame, first: int) -> pd.DataFrame:
    """The training tracks among the first `first` of each clip that is no control, of `ScoreReader.read_top`."""
    return top[(top["train_rank"] <= first).fillna(False) & (top["clip_kind"] != "track")]


def find_hubs(top: pd.DataFrame, first: int = FIRST_PLACES[0]) -> pd.DataFrame:
    """Tracks that are among the first `first` of several clips of run 1, most clips first.

    Columns: track_id, clips (how many), of (clips in all), best_rank, best_clip, mean_norm (over those clips);
    score_norm, std_error_norm, match_bin, p_value, q_value and above_noise (for the best clip); title, composer,
    collection, planted. Chance: a track comes up for clips × first / tracks of them.
    """
    top = top[top["run_id"] == 1]
    rows = select_high(top, first).sort_values(["train_rank", "clip_id"], kind="stable")
    of = int(top.loc[top["clip_kind"] != "track", "clip_id"].nunique())
    of_best = ("score_norm", "std_error_norm", "match_bin", "p_value", "q_value", "above_noise")
    hubs = rows.groupby("track_id", as_index=False).agg(
        clips=("clip_id", "size"),
        best_rank=("train_rank", "first"),
        best_clip=("clip_id", "first"),
        mean_norm=("score_norm", "mean"),
        # of the first row even where that is NaN, which "first" would pass over
        **{name: (name, lambda values: values.iloc[0]) for name in of_best},
        title=("title", "first"),
        composer=("composer", "first"),
        collection=("collection", "first"),
        planted=("planted", lambda values: values.iloc[0]),
    )
    hubs.insert(2, "of", of)
    hubs = hubs[hubs["clips"] > 1]
    return hubs.sort_values(["clips", "mean_norm", "track_id"], ascending=[False, False, True], ignore_index=True)


def find_decoys(top: pd.DataFrame, first: int = FIRST_PLACES[0]) -> pd.DataFrame:
    """Decoys among the first `first` of all, in any clip, the highest first: the rows of `ScoreReader.read_top`."""
    rows = top[top["is_decoy"] & (top["rank"] <= first)]
    return rows.sort_values(["rank", "score_norm"], ascending=[True, False], kind="stable", ignore_index=True)


def find_quiet(top: pd.DataFrame, first: int = FIRST_PLACES[0], below_lufs: float = QUIET_LUFS) -> pd.DataFrame:
    """Near-silent training tracks high up: quieter than `below_lufs`, or with audio in which no loudness was found
    (silence, or less than the 0.4 s that a measurement takes). The quietest first: rows of `ScoreReader.read_top`.
    """
    rows = select_high(top, first)
    loudness = rows["loudness_lufs"].where(rows["loudness_lufs"].notna() | ~rows["has_audio"], -np.inf)
    rows = rows.assign(_level=loudness)[loudness < below_lufs]
    return rows.sort_values(["_level", "train_rank", "clip_id"], ignore_index=True).drop(columns="_level")


def find_short(
    top: pd.DataFrame, usual_s: float, first: int = FIRST_PLACES[0], part: float = SHORT_PART
) -> pd.DataFrame:
    """Training tracks high up that are shorter than `part` of the usual length `usual_s`; the shortest first."""
    rows = select_high(top, first)
    rows = rows[rows["duration_s"] < part * usual_s]
    return rows.sort_values(["duration_s", "train_rank", "clip_id"], ignore_index=True)


def find_disagreements(
    tops: Mapping[int, pd.DataFrame], samples: Mapping[int, ScoreSample], first: int = FIRST_PLACES[0]
) -> pd.DataFrame:
    """Clips by how little methods agree, least first: means over all pairs of the methods given.

    Columns: clip_id, methods (that scored it), spearman (of the sampled training tracks' normalised scores), overlap
    (share of the first `first` training tracks that both have). A clip that fewer than two methods scored has no row.
    """
    chosen = {method: list_first_tracks(top, first) for method, top in tops.items()}
    at = {method: {int(clip): i for i, clip in enumerate(sample.clip_id)} for method, sample in samples.items()}
    ranks = {method: rank_scores(sample) for method, sample in samples.items()}
    rows = []
    for clip in sorted({clip for rows_of in at.values() for clip in rows_of}):
        methods = [method for method in samples if clip in at[method]]
        pairs = list(combinations(methods, 2))
        if not pairs:
            continue
        rho = [correlate_clip(ranks[a], at[a][clip], ranks[b], at[b][clip]) for a, b in pairs]
        both = [measure_overlap(chosen[a].get(clip, set()), chosen[b].get(clip, set())) for a, b in pairs]
        rows.append((clip, len(methods), average(rho), average(both)))
    cases = pd.DataFrame(rows, columns=["clip_id", "methods", "spearman", "overlap"])
    return cases.sort_values(["spearman", "overlap", "clip_id"], ignore_index=True)


def filter_rows(frame: pd.DataFrame, text: str, columns: Sequence[str]) -> pd.DataFrame:
    """Rows whose `columns` together hold every word of `text`, case apart."""
    words = text.casefold().split()
    if not words or frame.empty:
        return frame
    texts = frame[list(columns)].fillna("").astype(str).agg(" ".join, axis=1).str.casefold()
    keep = pd.Series(True, index=frame.index)
    for word in words:
        keep &= texts.str.contains(word, regex=False)
    return frame[keep]

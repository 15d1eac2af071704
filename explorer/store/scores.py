"""Queries about scores: of one clip, along clip and track, of a whole method, and of chosen pairs.

Scores: higher = stronger influence. `rank` counts training tracks and decoys together, `train_rank` training tracks
alone; 1 = strongest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from explorer.store.database import Database
from explorer.store.places import PlaceIntervals, compute_place_intervals
from explorer.store.records import ClipMoments, ScorePart, ScoreSample, Summary, TrackMoments

TOP = 100  # places of each clip that `read_top` holds
SAMPLE = 2000  # training tracks at most that `read_sample` holds
_MOMENTS_KEPT, _CLIPS_KEPT = 2000, 24  # about 2 kB a list of moments, 50 bytes a score
_ORDERED_KEPT, _DECOY_WINDOWS_KEPT = 64, 4  # 1 MB a clip at 115,000 tracks; 100 bytes a (clip, decoy) pair

_SCORES = (
    "SELECT track_id, train_rank IS NULL AS is_decoy, score, std_error, score_norm, std_error_norm, match_bin, p_value,"
    " q_value, above_noise, rank{} FROM scores WHERE method_id = ? AND clip_id = ?"
)
_SUMMARY = (
    "SELECT clip_id, tracks, decoys, above_noise, candidates, can_tell, decoys_top10_raw, decoys_top10_norm,"
    " share_top1_raw, share_top10_raw, share_top100_raw, share_top1_norm, share_top10_norm, share_top100_norm,"
    " largest_raw, auc_norm, spark FROM summaries"
)


def _compare_windows(kept: str, windows: str) -> str:
    """WITH clauses, the last of them `spreads`: for each (clip, track) of `windows` what is `kept` of it, and mean and
    standard deviation of the track's windows in other clips; of this clip where there is no other.
    """
    return f"""
    own AS (  -- its windows are taken out of the sums
        SELECT clip_id, method_id, track_id, {kept}, len(influence) AS count, list_sum(influence::DOUBLE[]) AS sum,
            list_inner_product(influence::DOUBLE[], influence::DOUBLE[]) AS squares
        FROM {windows}
    ),
    other AS (
        SELECT own.* EXCLUDE (count, sum, squares),
            CASE WHEN alone THEN count ELSE windows - count END AS windows,
            CASE WHEN alone THEN sum ELSE s.total - sum END AS sum,
            CASE WHEN alone THEN squares ELSE total_squares - squares END AS squares
        FROM own JOIN window_sums s USING (method_id, track_id),
            LATERAL (SELECT s.windows - own.count < 2 AS alone)
    ),
    spreads AS (
        SELECT * EXCLUDE (sum, squares), sum / windows AS mean,
            sqrt(greatest(0, squares - sum * sum / windows) / greatest(1, windows - 1)) AS spread
        FROM other
    )
    """


_SPAN = f"""
WITH {_compare_windows("list_sum(influence[?:?])::DOUBLE AS part", "clip_moments WHERE method_id = ? AND clip_id = ?")}
SELECT track_id, part AS total, windows, mean, spread FROM spreads
"""
_DECOY_WINDOWS = f"""
WITH tested AS (
    SELECT method_id, clip_id, track_id, match_bin FROM scores
    WHERE method_id = ? AND match_bin > 0 AND train_rank IS NULL
        AND clip_id IN (SELECT clip_id FROM clips WHERE run_id = ? AND kind = 'generated')
),
{_compare_windows("match_bin, influence", "clip_moments JOIN tested USING (method_id, clip_id, track_id)")}
SELECT clip_id, track_id, match_bin, spread, len(influence) AS count, influence
FROM spreads ORDER BY clip_id, track_id
"""
_TOP = """
SELECT s.clip_id, s.track_id, s.train_rank IS NULL AS is_decoy, s.rank, s.train_rank, s.score, s.std_error,
    s.score_norm, s.std_error_norm, s.match_bin, s.p_value, s.q_value, s.above_noise,
    t.title, t.composer, t.collection, t.planted, t.duration_s, t.loudness_lufs, t.audio_path IS NOT NULL AS has_audio,
    t.audition, c.kind AS clip_kind, c.target_track_id, c.run_id
FROM scores s JOIN tracks t USING (track_id) JOIN clips c USING (clip_id)
WHERE s.method_id = ? AND (s.rank <= ? OR s.train_rank <= ?)
ORDER BY s.clip_id, s.rank
"""
# The same tracks for every method: those whose ids have the least hashes.
_SAMPLED = "SELECT track_id FROM tracks WHERE NOT is_decoy ORDER BY hash(track_id), track_id LIMIT ?"
_SAMPLE = f"""
SELECT s.clip_id, s.track_id, s.score_norm FROM scores s SEMI JOIN ({_SAMPLED}) USING (track_id)
WHERE s.method_id = ? ORDER BY s.clip_id, s.track_id
"""
_PAIRS = """
WITH asked AS (SELECT unnest(?::INTEGER[]) AS clip_id, unnest(?::INTEGER[]) AS track_id)
SELECT clip_id, track_id, h.train_rank AS place, h.score, h.std_error, h.score_norm, h.std_error_norm,
    h.match_bin, h.p_value, h.q_value, h.above_noise,
    w.window_s, w.influence AS windows, m.rate_hz, m.influence AS moments
FROM asked JOIN scores h USING (clip_id, track_id)
LEFT JOIN clip_moments w USING (method_id, clip_id, track_id)
LEFT JOIN moments m USING (method_id, clip_id, track_id)
WHERE h.method_id = ?
"""


class ClipWindows(NamedTuple):
    """Windows of a clip that have scores of their own."""

    number: int  # 0: the run kept none
    length_s: float


class ScoreReader:
    """Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.read_columns = lru_cache(_CLIPS_KEPT)(self._read_columns)
        self.read_moments = lru_cache(_MOMENTS_KEPT)(self._read_moments)
        self.read_ordered = lru_cache(_ORDERED_KEPT)(self._read_ordered)
        self.read_decoy_windows = lru_cache(_DECOY_WINDOWS_KEPT)(self._read_decoy_windows)

    # --- one clip under one method

    def read_frame(self, method_id: int, clip_id: int) -> pd.DataFrame:
        """Every track of one clip, by `rank`: track_id, is_decoy, score, std_error, score_norm, std_error_norm,
        match_bin, p_value, q_value (NaN: nothing is said), above_noise, rank, train_rank (nullable Int64, empty for
        decoys).
        """
        frame = self._database.fetch_frame(_SCORES.format(", train_rank") + " ORDER BY rank", method_id, clip_id)
        return frame.astype({"train_rank": "Int64"})

    def read_rows(self, method_id: int, clip_id: int, track_ids: Sequence[int]) -> pd.DataFrame:
        """`read_frame` of some tracks, but for train_rank, in the order of `track_ids`; one not scored is left out."""
        columns = self.read_columns(method_id, clip_id)
        scored = columns["track_id"]
        rows = np.searchsorted(scored, track_ids)
        here = rows < len(scored)
        here[here] = scored[rows[here]] == np.array(track_ids, dtype=int)[here]
        return pd.DataFrame({name: values[rows[here]] for name, values in columns.items()})

    def _read_columns(self, method_id: int, clip_id: int) -> dict[str, np.ndarray]:
        """Columns that a ranking needs, as arrays [N] by track_id, not to be changed: track_id, is_decoy,
        score, std_error, score_norm, std_error_norm, match_bin, p_value, q_value (NaN: nothing is said), above_noise,
        rank.
        """
        columns = self._database.fetch_columns(_SCORES.format(""), method_id, clip_id)
        if (np.diff(columns["track_id"]) < 0).any():  # a store is written by track_id, but nothing makes it so
            order = np.argsort(columns["track_id"])
            columns = {name: values[order] for name, values in columns.items()}
        for values in columns.values():
            values.setflags(write=False)
        return columns

    def _read_ordered(self, method_id: int, clip_id: int) -> np.ndarray:
        """Normalised scores of the training tracks of a clip, ascending, float64 [M]."""
        sql = "SELECT score_norm FROM scores WHERE method_id = ? AND clip_id = ? AND train_rank IS NOT NULL"
        return np.sort(self._database.fetch_columns(sql, method_id, clip_id)["score_norm"].astype(float))

    def read_span(self, method_id: int, clip_id: int, first: int, last: int) -> dict[str, np.ndarray]:
        """Windows `first` to `last` (from 1) of a clip, beside all windows of other clips; arrays [N] over tracks.

        track_id; total: of the span; windows, mean, spread: number, mean and standard deviation of the track's
        windows in other clips (of this clip where there is no other).
        """
        return self._database.fetch_columns(_SPAN, first, last, method_id, clip_id)

    def _read_decoy_windows(self, method_id: int, run_id: int) -> dict[str, np.ndarray]:
        """Windows of the decoys in the tested match bins, in all generated clips of a run; [M] pairs, by clip, track.

        clip_id, track_id, match_bin; spread: standard deviation of the track's windows in other clips; influence:
        float32 [M, W], NaN past the clip's last window. A clip of which the run kept no windows has no pairs.
        """
        columns = self._database.fetch_columns(_DECOY_WINDOWS, method_id, run_id)
        lists, count = columns.pop("influence"), columns.pop("count")
        influence = np.full((len(count), int(count.max(initial=0))), np.nan, np.float32)
        if len(count):
            influence[np.arange(influence.shape[1]) < count[:, None]] = np.concatenate(lists)
        return {**columns, "influence": influence}

    def _read_moments(self, method_id: int, clip_id: int, track_id: int) -> TrackMoments | None:
        """Influence over one track; None where the run kept none (it keeps those of the best-ranked tracks)."""
        rows = self._database.fetch_rows(
            "SELECT rate_hz, influence FROM moments WHERE method_id = ? AND clip_id = ? AND track_id = ?",
            method_id,
            clip_id,
            track_id,
        )
        return TrackMoments(rows[0][0], tuple(rows[0][1])) if rows else None

    def read_clip_moments(self, method_id: int, clip_id: int, track_ids: Sequence[int]) -> ClipMoments | None:
        """Influence over the clip, of some tracks; None where the run kept none for this clip."""
        rows = self._database.fetch_rows(
            "SELECT track_id, window_s, influence FROM clip_moments WHERE method_id = ? AND clip_id = ?"
            " AND track_id IN (SELECT unnest(?::INTEGER[]))",
            method_id,
            clip_id,
            list(track_ids),
        )
        return ClipMoments(rows[0][1], {row[0]: tuple(row[2]) for row in rows}) if rows else None

    def read_windows(self, method_id: int, clip_id: int) -> ClipWindows:
        """Count the windows of this clip that have scores of their own; (0, 0.0) where the run kept none."""
        rows = self._database.fetch_rows(
            "SELECT len(influence), window_s FROM clip_moments WHERE method_id = ? AND clip_id = ? LIMIT 1",
            method_id,
            clip_id,
        )
        return ClipWindows(*rows[0]) if rows else ClipWindows(0, 0.0)

    def read_parts(self, method_id: int, clip_id: int, track_ids: Sequence[int]) -> dict[int, list[ScorePart]]:
        """By track: the score of each stratum of the noise level t, by t; their mean is the score."""
        rows = self._database.fetch_rows(
            "SELECT track_id, t_low, t_high, score FROM score_parts WHERE method_id = ? AND clip_id = ?"
            " AND list_contains(?::INTEGER[], track_id) ORDER BY track_id, t_low",
            method_id,
            clip_id,
            list(track_ids),
        )
        parts: dict[int, list[ScorePart]] = {}
        for track_id, *row in rows:
            parts.setdefault(track_id, []).append(ScorePart(*row))
        return parts

    def has_parts(self) -> bool:
        """True where the run kept scores by stratum of the noise level."""
        return bool(self._database.fetch_rows("SELECT 1 FROM score_parts LIMIT 1"))

    # --- a whole method

    def read_summaries(self, method_id: int) -> dict[int, Summary]:
        """By clip, for every clip that this method scored."""
        rows = self._database.fetch_rows(_SUMMARY + " WHERE method_id = ? ORDER BY clip_id", method_id)
        records = [(*row[:8], row[8:11], row[11:14], *row[14:16], tuple(row[16])) for row in rows]
        return {record[0]: Summary(*record) for record in records}

    def read_top(self, method_id: int, places: int = TOP) -> pd.DataFrame:
        """The first `places` of every clip, training tracks and decoys, a row each, by clip, then rank.

        Columns: clip_id, track_id, is_decoy, rank, train_rank (nullable Int64, empty for decoys), score, std_error,
        score_norm, std_error_norm, match_bin, p_value, q_value, above_noise; of the track: title, composer, collection,
        planted, duration_s, loudness_lufs (NaN: silent, too short, or not at hand), has_audio, audition; of the clip:
        clip_kind, target_track_id (Int64), run_id. At most 2 `places` rows a clip: as many of `rank` as of
        `train_rank`.
        """
        frame = self._database.fetch_frame(_TOP, method_id, places, places)
        return frame.astype({"train_rank": "Int64", "target_track_id": "Int64"})

    def read_sample(self, method_id: int, tracks: int = SAMPLE) -> ScoreSample:
        """Normalised scores of the same training tracks in every clip: all of them, or `tracks` drawn by hash."""
        columns = self._database.fetch_columns(_SAMPLE, tracks, method_id)
        clips, at_clip = np.unique(columns["clip_id"], return_inverse=True)
        ids, at_track = np.unique(columns["track_id"], return_inverse=True)
        values = np.full((len(clips), len(ids)), np.nan)
        values[at_clip, at_track] = columns["score_norm"]
        return ScoreSample(clips, ids, values)

    # --- pairs of clip and track

    def place_pairs(
        self, method_id: int, clip_id: np.ndarray, score: np.ndarray, error: np.ndarray, trained: np.ndarray
    ) -> PlaceIntervals:
        """The places that pairs may hold in their clips. Arrays [n]: clips, normalised scores and their errors, and
        whether the track is a training track of that clip.
        """
        best, worst = np.zeros(len(clip_id), int), np.zeros(len(clip_id), int)
        for clip in np.unique(clip_id).tolist():
            here, training = clip_id == clip, self.read_ordered(method_id, clip)
            best[here], worst[here] = compute_place_intervals(score[here], error[here], training, trained[here])
        return PlaceIntervals(best, worst)

    def list_pairs(self, method_id: int, clip_id: int, limit: int) -> list[tuple[int, int]]:
        """(clip, track) of one clip by rank, decoys too."""
        sql = "SELECT clip_id, track_id FROM scores WHERE method_id = ? AND clip_id = ? ORDER BY rank LIMIT ?"
        return self._database.fetch_rows(sql, method_id, clip_id, limit)

    def read_pairs(self, method_id: int, pairs: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """Scores and moments of (clip, track) pairs, in order; a pair that was not scored is left out.

        Keys: clip_id, track_id, place (among training tracks; None for a decoy), score, std_error, score_norm,
        std_error_norm, match_bin, p_value, q_value (None: nothing is said), above_noise, window_s, windows (influence
        over the clip), rate_hz, moments (over the track); the last four are None where the run kept none.
        """
        if not pairs:
            return []
        clips, tracks = zip(*pairs, strict=True)
        records = self._database.fetch_records(_PAIRS, list(clips), list(tracks), method_id)
        by_pair = {(record["clip_id"], record["track_id"]): record for record in records}
        return [by_pair[pair] for pair in pairs if pair in by_pair]

"""Queries for those who look for errors, and for two methods side by side: a part of `Store`.

Conventions as in store.py: ids in; frozen records, arrays or DataFrames out. Scores: higher = stronger influence.
Ranks: 1 = strongest; `rank` counts training tracks and decoys together, `train_rank` training tracks alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from explorer.store.records import Agreement, PassageRecord, ScorePart, ScoreSample, SkippedMethod

TOP = 100  # places of each clip that `top` holds
SAMPLE = 2000  # training tracks at most that `sample` holds
ASPECTS = ("melody", "harmony", "rhythm", "timbre")

_TOP = """
SELECT s.clip_id, s.track_id, s.train_rank IS NULL AS is_decoy, s.rank, s.train_rank, s.score, s.std_error,
    s.score_norm, s.std_error_norm, s.q_value, s.above_noise, t.title, t.composer, t.collection, t.planted,
    t.duration_s, t.loudness_lufs, t.audio_path IS NOT NULL AS has_audio, t.audition, c.kind AS clip_kind,
    c.target_track_id
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
_SHORT = "SELECT quantile_cont(duration_s, 0.5) FROM tracks WHERE NOT is_decoy"


class Research:
    """What `Store` answers about a run as a whole. Safe to share between threads."""

    _con: duckdb.DuckDBPyConnection

    def _all(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        return self._con.cursor().execute(sql, args).fetchall()

    def top(self, method_id: int, places: int = TOP) -> pd.DataFrame:
        """The first `places` of every clip, training tracks and decoys, a row each, by clip, then rank.

        Columns: clip_id, track_id, is_decoy, rank, train_rank (nullable Int64, empty for decoys), score, std_error,
        score_norm, std_error_norm, q_value, above_noise; of the track: title, composer, collection, planted,
        duration_s, loudness_lufs (NaN: silent, too short, or not at hand), has_audio, audition; of the clip:
        clip_kind, target_track_id (Int64). At most 2 `places` rows a clip: as many of `rank` as of `train_rank`.
        """
        frame = self._con.cursor().execute(_TOP, (method_id, places, places)).df()
        return frame.astype({"train_rank": "Int64", "target_track_id": "Int64"})

    def sample(self, method_id: int, tracks: int = SAMPLE) -> ScoreSample:
        """Normalised scores of the same training tracks in every clip: all of them, or `tracks` drawn by hash."""
        columns = self._con.cursor().execute(_SAMPLE, (tracks, method_id)).fetchnumpy()
        clips, at_clip = np.unique(columns["clip_id"], return_inverse=True)
        ids, at_track = np.unique(columns["track_id"], return_inverse=True)
        values = np.full((len(clips), len(ids)), np.nan)
        values[at_clip, at_track] = columns["score_norm"]
        return ScoreSample(clips, ids, values)

    def training_tracks(self) -> int:
        """How many training tracks the store holds."""
        return int(self._all("SELECT count(*) FROM tracks WHERE NOT is_decoy")[0][0])

    def usual_duration_s(self) -> float:
        """Median length of the training tracks, seconds; 0 without any."""
        return float(self._all(_SHORT)[0][0] or 0.0)

    def durations(self) -> tuple[np.ndarray, np.ndarray]:
        """(track ids int32 [N] ascending, their lengths in seconds float64 [N]); decoys included."""
        columns = self._con.cursor().execute("SELECT track_id, duration_s FROM tracks ORDER BY track_id").fetchnumpy()
        return columns["track_id"], columns["duration_s"]

    def loudness(self, track_ids: Sequence[int]) -> dict[int, float | None]:
        """Integrated loudness by track, LUFS; None: silent, too short to measure, or no audio at hand."""
        sql = "SELECT track_id, loudness_lufs FROM tracks WHERE list_contains(?::INTEGER[], track_id)"
        return dict(self._all(sql, list(track_ids)))

    def works(self) -> tuple[np.ndarray, np.ndarray]:
        """(track ids int32 [N] ascending, the number of each one's work int64 [N]): renderings of a work share it."""
        sql = "SELECT track_id, dense_rank() OVER (ORDER BY work_id) AS work FROM tracks ORDER BY track_id"
        columns = self._con.cursor().execute(sql).fetchnumpy()
        return columns["track_id"], columns["work"]

    def skipped_methods(self) -> list[SkippedMethod]:
        """Methods that were asked for and could not run, and why; by label."""
        return [
            SkippedMethod(*row)
            for row in self._all("SELECT name, label, reason FROM skipped_methods ORDER BY label, name")
        ]

    def agreement(self) -> list[Agreement]:
        """How far two methods agree, means over generated clips, training tracks alone; empty where not measured."""
        sql = "SELECT method_a, method_b, pearson, spearman, top10, top100 FROM agreement ORDER BY ALL"
        return [Agreement(*row) for row in self._all(sql)]

    def evaluations(self) -> dict[str, str]:
        """Results that `python -m precompute evaluate` kept, as JSON text, by name."""
        return dict(self._all("SELECT name, result_json FROM evaluations ORDER BY name"))

    def aspects(self, clip_id: int, track_ids: Sequence[int]) -> dict[int, dict[str, float]]:
        """By track, then aspect (of ASPECTS): how alike clip and track sound, percentile 0..100 of random pairs."""
        rows = self._all(
            "SELECT track_id, aspect, percentile FROM aspects WHERE clip_id = ?"
            " AND list_contains(?::INTEGER[], track_id)",
            clip_id,
            list(track_ids),
        )
        found: dict[int, dict[str, float]] = {}
        for track_id, aspect, percentile in rows:
            found.setdefault(track_id, {})[aspect] = percentile
        return found

    def passages(self, clip_id: int, track_ids: Sequence[int]) -> dict[int, list[PassageRecord]]:
        """By track: its passages that come close to one of the clip, the closest first."""
        rows = self._all(
            "SELECT track_id, passage, clip_start_s, clip_end_s, track_start_s, track_end_s, semitones, similarity,"
            " p_value FROM passages WHERE clip_id = ? AND list_contains(?::INTEGER[], track_id)"
            " ORDER BY track_id, passage",
            clip_id,
            list(track_ids),
        )
        found: dict[int, list[PassageRecord]] = {}
        for track_id, *row in rows:
            found.setdefault(track_id, []).append(PassageRecord(*row))
        return found

    def holds(self, table: str) -> bool:
        """Whether 'aspects', 'passages' or 'score_parts' has any row. Raises ValueError for another name."""
        if table not in ("aspects", "passages", "score_parts"):
            raise ValueError(f"{table} is not a table that may be empty")
        return bool(self._all(f"SELECT 1 FROM {table} LIMIT 1"))

    def score_parts(self, method_id: int, clip_id: int, track_ids: Sequence[int]) -> dict[int, list[ScorePart]]:
        """By track: the score of each stratum of the noise level t, by t; their mean is the score."""
        rows = self._all(
            "SELECT track_id, t_low, t_high, score FROM score_parts WHERE method_id = ? AND clip_id = ?"
            " AND list_contains(?::INTEGER[], track_id) ORDER BY track_id, t_low",
            method_id,
            clip_id,
            list(track_ids),
        )
        found: dict[int, list[ScorePart]] = {}
        for track_id, *row in rows:
            found.setdefault(track_id, []).append(ScorePart(*row))
        return found

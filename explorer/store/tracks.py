"""Queries about tracks: their entries, sound, works and words.

Durations in seconds, loudness in LUFS, peaks in dBFS. Decoys are tracks too, where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from explorer.store.database import Database
from explorer.store.records import SoundRecord, TrackRecord
from explorer.store.search import TrackSearch

_TRACKS_KEPT, _SOUNDS_KEPT = 20_000, 2000  # about 1 kB a track, 5 kB a sound
_LICENCE = (
    "CASE WHEN licence_composition = licence_encoding AND licence_encoding = licence_rendering THEN licence_rendering"
    " ELSE 'composition: ' || licence_composition || ' · encoding: ' || licence_encoding || ' · rendering: '"
    " || licence_rendering END"
)
_TRACK = (
    f"SELECT track_id, is_decoy, planted, title, composer, collection, rights_holder, {_LICENCE}, source,"
    " instrument, duration_s, audition, audio_path IS NOT NULL FROM tracks"
)
_SOUND = (
    "SELECT duration_s, audio_path, false, audition, loudness_lufs, peak_dbfs, peaks FROM tracks WHERE track_id = ?"
)
_LISTENABLE = (
    "SELECT track_id, planted, work_id, if(audition = 'excerpt', least(duration_s, ?), duration_s) AS heard_s"
    " FROM tracks WHERE audition <> 'none' AND audio_path IS NOT NULL ORDER BY track_id"
)
_PROVENANCE = ("work_id", "isrc", "iswc", "licence_evidence", "audio_sha256")


class TrackReader:
    """Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._search = TrackSearch(database)
        self._tracks: dict[int, TrackRecord] = {}
        self.read_sound = lru_cache(_SOUNDS_KEPT)(self._read_sound)
        self.read_works = lru_cache(1)(self._read_works)
        self.read_durations = lru_cache(1)(self._read_durations)
        self.read_usual_duration = lru_cache(1)(self._read_usual_duration)

    def read(self, track_id: int) -> TrackRecord:
        """One track. Raises UnknownIdError."""
        return TrackRecord(*self._database.fetch_row("track", track_id, _TRACK + " WHERE track_id = ?"))

    def read_many(self, track_ids: Sequence[int]) -> dict[int, TrackRecord]:
        """Track by id; an unknown id is left out."""
        tracks = {i: track for i in track_ids if (track := self._tracks.get(i))}
        if missing := [i for i in track_ids if i not in tracks]:
            # list_contains is faster here than a join.
            rows = self._database.fetch_rows(_TRACK + " WHERE list_contains(?::INTEGER[], track_id)", missing)
            read = {row[0]: TrackRecord(*row) for row in rows}
            if len(self._tracks) + len(read) > _TRACKS_KEPT:
                self._tracks.clear()
            self._tracks.update(read)
            tracks.update(read)
        return tracks

    def _read_sound(self, track_id: int) -> SoundRecord:
        """Length, file, audition rule and loudness of one track. Raises UnknownIdError."""
        return sound_of_row(self._database.fetch_row("track", track_id, _SOUND))

    def find(self, text: str = "", collection: str | None = None, by: str | None = None) -> np.ndarray:
        """Ids of the tracks that hold every word of `text` (accents and case apart), in one collection or in any.

        int32 [N], ordered by the column `by` (one of search.SORTABLE), else by id.
        """
        return self._search.find(text, collection, by)

    def list_collections(self) -> list[str]:
        """Every collection, by name."""
        return [
            row[0] for row in self._database.fetch_rows("SELECT DISTINCT collection FROM tracks ORDER BY collection")
        ]

    def list_planted(self) -> np.ndarray:
        """Ids of the planted cases, int32; they stay outside the statistics of decoys."""
        return self._database.fetch_columns("SELECT track_id FROM tracks WHERE planted IS NOT NULL")["track_id"]

    def list_listenable(self, excerpt_s: float) -> pd.DataFrame:
        """Tracks that may be heard and have audio, by id: track_id, planted, work_id, heard_s.

        `excerpt_s`: how much is heard of a track whose `audition` is 'excerpt'.
        """
        return self._database.fetch_frame(_LISTENABLE, excerpt_s)

    def count_training(self) -> int:
        """Count the training tracks."""
        return int(self._database.fetch_rows("SELECT count(*) FROM tracks WHERE NOT is_decoy")[0][0])

    def _read_usual_duration(self) -> float:
        """Median length of the training tracks, seconds; 0 without any."""
        sql = "SELECT quantile_cont(duration_s, 0.5) FROM tracks WHERE NOT is_decoy"
        return float(self._database.fetch_rows(sql)[0][0] or 0.0)

    def _read_durations(self) -> tuple[np.ndarray, np.ndarray]:
        """(track ids int32 [N] ascending, their lengths in seconds float64 [N])."""
        columns = self._database.fetch_columns("SELECT track_id, duration_s FROM tracks ORDER BY track_id")
        return columns["track_id"], columns["duration_s"]

    def read_loudness(self, track_ids: Sequence[int]) -> dict[int, float | None]:
        """Integrated loudness by track, LUFS; None: silent, too short to measure, or no audio at hand."""
        sql = "SELECT track_id, loudness_lufs FROM tracks WHERE list_contains(?::INTEGER[], track_id)"
        return dict(self._database.fetch_rows(sql, list(track_ids)))

    def _read_works(self) -> tuple[np.ndarray, np.ndarray]:
        """(track ids int32 [N] ascending, the number of each one's work int64 [N]): renderings of a work share it."""
        sql = "SELECT track_id, dense_rank() OVER (ORDER BY work_id) AS work FROM tracks ORDER BY track_id"
        columns = self._database.fetch_columns(sql)
        return columns["track_id"], columns["work"]

    def count_renderings(self, track_ids: Sequence[int]) -> dict[int, int]:
        """By track: how many training tracks are of its work, itself included."""
        rows = self._database.fetch_rows(
            "SELECT t.track_id, count(*) FROM tracks t JOIN tracks o ON o.work_id = t.work_id AND NOT o.is_decoy"
            " WHERE t.track_id IN (SELECT unnest(?::INTEGER[])) GROUP BY t.track_id",
            list(track_ids),
        )
        return dict(rows)

    def read_provenance(self, track_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """By track: work_id, isrc, iswc, licence_evidence, audio_sha256."""
        sql = f"SELECT track_id, {', '.join(_PROVENANCE)} FROM tracks WHERE track_id IN (SELECT unnest(?::INTEGER[]))"
        rows = self._database.fetch_rows(sql, list(track_ids))
        return {row[0]: dict(zip(_PROVENANCE, row[1:], strict=True)) for row in rows}


def sound_of_row(row: tuple[Any, ...]) -> SoundRecord:
    """A record from its columns; a sound that was never measured has no peaks."""
    duration_s, path, of_clip, audition, loudness, peak, peaks = row
    return SoundRecord(duration_s, path, of_clip, audition, loudness, peak, tuple(peaks or ()))

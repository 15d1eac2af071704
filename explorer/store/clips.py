"""Queries about clips: generated ones, users', and controls (training tracks unlearned themselves, kind 'track')."""

from __future__ import annotations

from explorer.store.database import Database
from explorer.store.records import ClipRecord, SoundRecord
from explorer.store.tracks import TrackReader, sound_of_row

_CLIP = (
    "SELECT c.clip_id, c.kind, c.target_track_id, coalesce(c.prompt, c.title), c.seed, c.duration_s, t.title, c.run_id,"
    " r.model_note FROM clips c JOIN runs r USING (run_id) LEFT JOIN tracks t ON t.track_id = c.target_track_id"
)
_SOUND = (
    "SELECT target_track_id, duration_s, audio_path, true, 'full', loudness_lufs, peak_dbfs, peaks"
    " FROM clips WHERE clip_id = ?"
)


class ClipReader:
    """Safe to share between threads."""

    def __init__(self, database: Database, tracks: TrackReader) -> None:
        self._database = database
        self._tracks = tracks

    def read(self, clip_id: int) -> ClipRecord:
        """One clip. Raises UnknownIdError."""
        return ClipRecord(*self._database.fetch_row("clip", clip_id, _CLIP + " WHERE c.clip_id = ?"))

    def list_scored(self) -> list[ClipRecord]:
        """Clips that some method scored: generated ones, then users', then controls; each by id."""
        rows = self._database.fetch_rows(
            _CLIP + " WHERE c.clip_id IN (SELECT DISTINCT clip_id FROM scores)"
            " ORDER BY list_position(['generated', 'user', 'track'], c.kind), c.clip_id"
        )
        return [ClipRecord(*row) for row in rows]

    def read_sound(self, clip_id: int) -> SoundRecord:
        """Length, file and loudness of one clip. Raises UnknownIdError.

        A control sounds as its track does, under that track's audition rule.
        """
        target, *row = self._database.fetch_row("clip", clip_id, _SOUND)
        return sound_of_row(tuple(row)) if target is None else self._tracks.read_sound(target)

    def count(self) -> int:
        """Count the clips of run 1; controls are left out."""
        return int(self._database.fetch_rows("SELECT count(*) FROM clips WHERE kind <> 'track' AND run_id = 1")[0][0])

    def read_hash(self, clip_id: int) -> str | None:
        """SHA-256 of the clip's audio, where it is known."""
        rows = self._database.fetch_rows("SELECT audio_sha256 FROM clips WHERE clip_id = ?", clip_id)
        return rows[0][0] if rows else None

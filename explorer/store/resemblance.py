"""Queries about resemblance, which is not influence: how alike clips and tracks sound, and copied passages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from explorer.store.database import Database
from explorer.store.holders import CLIPS, MEMBERS, PARTIES
from explorer.store.records import CopiedPassage, Copying, PassageRecord

ASPECTS = ("melody", "harmony", "rhythm", "timbre")
# A decoy of run 1 may be a training track of a model tuned from it.
_TRAINED = """
(track_id IN (SELECT track_id FROM tracks WHERE NOT is_decoy) OR (clip_id, track_id) IN (
    SELECT clip_id, track_id FROM scores JOIN clips USING (clip_id) WHERE run_id > 1 AND train_rank IS NOT NULL))
"""
CLOSE = 0.05  # a passage counts as close where at most this part of the decoys comes as close


class ResemblanceReader:
    """Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.has_aspects = lru_cache(1)(self._has_aspects)
        self.has_passages = lru_cache(1)(self._has_passages)

    def _has_aspects(self) -> bool:
        """True where the run compared how clips and tracks sound."""
        return bool(self._database.fetch_rows("SELECT 1 FROM aspects LIMIT 1"))

    def _has_passages(self) -> bool:
        """True where any passage of a track comes close to one of a clip."""
        return bool(self._database.fetch_rows("SELECT 1 FROM passages LIMIT 1"))

    def has_search(self) -> bool:
        """True where copied passages were looked for: such a run keeps aspects or passages."""
        return self.has_aspects() or self.has_passages()

    def read_aspects(self, clip_id: int, track_ids: Sequence[int]) -> dict[int, dict[str, float]]:
        """By track, then aspect (of ASPECTS): how alike clip and track sound, percentile 0..100 of random pairs."""
        rows = self._database.fetch_rows(
            "SELECT track_id, aspect, percentile FROM aspects WHERE clip_id = ?"
            " AND list_contains(?::INTEGER[], track_id)",
            clip_id,
            list(track_ids),
        )
        aspects: dict[int, dict[str, float]] = {}
        for track_id, aspect, percentile in rows:
            aspects.setdefault(track_id, {})[aspect] = percentile
        return aspects

    def read_passages(self, clip_id: int, track_ids: Sequence[int]) -> dict[int, list[PassageRecord]]:
        """By track: its passages that come close to one of the clip, the closest first."""
        rows = self._database.fetch_rows(
            "SELECT track_id, passage, clip_start_s, clip_end_s, track_start_s, track_end_s, semitones, similarity,"
            " p_value FROM passages WHERE clip_id = ? AND list_contains(?::INTEGER[], track_id)"
            " ORDER BY track_id, passage",
            clip_id,
            list(track_ids),
        )
        passages: dict[int, list[PassageRecord]] = {}
        for track_id, *row in rows:
            passages.setdefault(track_id, []).append(PassageRecord(*row))
        return passages

    def find_copying(
        self, limit: int, grouping: str | None = None, name: str | None = None, clip_id: int | None = None
    ) -> Copying:
        """Close passages of a group, of a clip, or of all; at most `limit`. Compared pairs have aspects too."""
        where = [f"clip_id IN ({CLIPS})" if clip_id is None else "clip_id = ?"]
        args: list[Any] = [] if clip_id is None else [clip_id]
        where.append(_TRAINED)
        if name is not None:
            where.append(f"track_id IN ({MEMBERS})")
            args += [name, grouping, grouping]
        wanted = " AND ".join(where)
        compared, close = self._database.fetch_rows(
            f"WITH {PARTIES}, pairs AS (SELECT clip_id, track_id FROM aspects WHERE {wanted}"
            f" UNION SELECT clip_id, track_id FROM passages WHERE {wanted})"
            f" SELECT (SELECT count(*) FROM pairs), (SELECT count(DISTINCT (clip_id, track_id)) FROM passages"
            f" WHERE {wanted} AND p_value <= {CLOSE})",
            *(args * 3),
        )[0]
        rows = self._database.fetch_rows(
            f"WITH {PARTIES} SELECT clip_id, track_id, clip_start_s, clip_end_s, track_start_s, track_end_s,"
            f" semitones, similarity, p_value FROM passages WHERE {wanted} AND p_value <= {CLOSE}"
            " ORDER BY p_value, similarity DESC, clip_id, track_id, passage LIMIT ?",
            *args,
            limit,
        )
        return Copying(compared, close, tuple(CopiedPassage(r[0], r[1], r[2:4], r[4:6], *r[6:]) for r in rows))

"""Queries about what may be believed of scores: the claims *shaped this clip* and *shaped the model*.

The first is a statement about a pair of clip and track, the second about a track; they are never mixed. Definitions:
above_noise.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from explorer.store.above_noise import BinRecord
from explorer.store.database import Database
from explorer.store.records import TrackClaim

_METHODS_KEPT = 8  # 3 MB each at 115,000 tracks


class ClaimReader:
    """Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._of_tracks = lru_cache(_METHODS_KEPT)(self._read_columns)
        self.count_generated = lru_cache(_METHODS_KEPT)(self._count_generated)
        self.list_silent = lru_cache(_METHODS_KEPT)(self._list_silent)

    def read_bins(self, method_id: int, clip_id: int) -> tuple[BinRecord, ...]:
        """Counts behind the p-values of a clip: a record for each match bin with candidates, the same caption first."""
        rows = self._database.fetch_rows(
            "SELECT 0, match_bin, candidates, decoys, null_rows, null_works, can_tell FROM match_bins"
            " WHERE method_id = ? AND clip_id = ? ORDER BY match_bin DESC",
            method_id,
            clip_id,
        )
        return tuple(BinRecord(*row) for row in rows)

    def _list_silent(self, method_id: int) -> frozenset[tuple[int, int]]:
        """(clip, match bin) of which the test cannot tell: decoys are too few for even a lone track to be found."""
        sql = "SELECT clip_id, match_bin FROM match_bins WHERE method_id = ? AND NOT can_tell"
        return frozenset(self._database.fetch_rows(sql, method_id))

    def read_of_tracks(self, method_id: int, track_ids: Sequence[int]) -> dict[int, TrackClaim]:
        """The claim *shaped the model* by track; a track without one is left out."""
        columns = self._of_tracks(method_id)
        ids, clips = columns["track_id"], self.count_generated(method_id)
        rows = np.searchsorted(ids, track_ids)
        return {
            int(track_id): TrackClaim(
                score_mean=float(columns["score_mean"][row]),
                p_value=float(columns["p_value"][row]),
                q_value=float(columns["q_value"][row]),
                above_noise=bool(columns["above_noise"][row]),
                clips_above=int(columns["clips_above"][row]),
                clips=clips,
                is_hub=bool(columns["is_hub"][row]),
            )
            for track_id, row in zip(track_ids, rows, strict=True)
            if row < len(ids) and ids[row] == track_id
        }

    def _read_columns(self, method_id: int) -> dict[str, np.ndarray]:
        return self._database.fetch_columns(
            "SELECT track_id, score_mean, p_value, q_value, above_noise, clips_above, is_hub FROM track_claims"
            " WHERE method_id = ? ORDER BY track_id",
            method_id,
        )

    def _count_generated(self, method_id: int) -> int:
        """Count the generated clips of run 1 that the method scored."""
        sql = (
            "SELECT count(*) FROM summaries JOIN clips USING (clip_id)"
            " WHERE method_id = ? AND kind = 'generated' AND run_id = 1"
        )
        return int(self._database.fetch_rows(sql, method_id)[0][0])

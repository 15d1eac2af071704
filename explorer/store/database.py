"""The only door to the store: opens it read-only, checks its version, holds every query.

Conventions: ids in; frozen dataclasses or DataFrames out. Scores: higher = stronger influence. Ranks: 1 =
strongest. Durations in seconds, loudness in LUFS, peaks in dBFS. Each call takes its own cursor, because one
DuckDB connection shared by threads returns wrong rows without an error. An unknown id raises UnknownIdError.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from explorer.store import queries
from explorer.store.catalogue import Catalogue
from explorer.store.errors import (
    StoreBusyError,
    StoreFormatError,
    StoreMissingError,
    StoreTableError,
    StoreVersionError,
    UnknownIdError,
)
from explorer.store.errors import StoreError as StoreError  # the family, for those who open a store
from explorer.store.records import (
    ClipMoments,
    ClipRecord,
    Diagnostic,
    MethodRecord,
    RunRecord,
    SoundRecord,
    StoreInfo,
    Summary,
    TrackMoments,
    TrackRecord,
)
from explorer.store.research import Research
from explorer.store.search import SORTABLE as SORTABLE
from explorer.store.search import Search

SCHEMA_VERSION = 3
MAX_ID = 2**31 - 1  # ids are INTEGER
_Config = dict[str, str | bool | int | float | list[str]]  # as DuckDB types it
_SAFE: _Config = {
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "lock_configuration": True,
}
# Kept of what was read: about 1 kB a track, 5 kB a sound, 2 kB a list of moments, 50 bytes a score.
_TRACKS_KEPT, _SOUNDS_KEPT, _MOMENTS_KEPT, _CLIPS_KEPT = 20_000, 2000, 2000, 24
_OPEN_HINT = "make one with `make demo`, or name one with --store PATH"


@cache
def contract() -> Mapping[str, frozenset[str]]:
    """Table -> columns, read from schema.sql itself, so that the check cannot drift from the contract."""
    with duckdb.connect(":memory:", config=_SAFE) as con:
        con.execute((Path(__file__).parents[1] / "schema.sql").read_text(encoding="utf-8"))
        return _tables(con)


def _tables(con: duckdb.DuckDBPyConnection) -> dict[str, frozenset[str]]:
    rows = con.execute(
        "SELECT table_name, list(column_name) FROM information_schema.columns "
        "WHERE table_schema = 'main' GROUP BY table_name"
    ).fetchall()
    return {table: frozenset(columns) for table, columns in rows}


def _open(path: Path, threads: int, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Raises StoreMissingError, StoreBusyError or StoreFormatError."""
    if not path.is_file():
        raise StoreMissingError(f"no store at {path}: {_OPEN_HINT}")
    config: _Config = {"threads": threads, "memory_limit": memory_limit, **_SAFE}
    try:
        return duckdb.connect(str(path), read_only=True, config=config)
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            raise StoreBusyError(f"{path} is being written by another process: try again when it is done") from error
        raise StoreFormatError(
            f"{path} is not a DuckDB file that DuckDB {duckdb.__version__} can read: {_OPEN_HINT}"
        ) from error


def _check(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raises StoreTableError or StoreVersionError. The version comes first: it explains a missing column."""
    present = _tables(con)
    if "store_info" not in present:
        raise StoreTableError(f"{path} has no table store_info, so it is not a Whence store: {_OPEN_HINT}")
    versions = [row[0] for row in con.execute("SELECT version FROM store_info").fetchall()]
    if versions != [SCHEMA_VERSION]:
        found = "no version" if not versions else "version " + ", ".join(map(str, versions))
        raise StoreVersionError(
            f"{path} has {found}, this explorer reads version {SCHEMA_VERSION}: "
            "publish the store again with this release, or install the release that wrote it"
        )
    for table, columns in contract().items():
        if table not in present:
            raise StoreTableError(f"{path} has no table {table}: publish the store again with this release")
        if missing := columns - present[table]:
            names = ", ".join(sorted(missing))
            raise StoreTableError(f"{path}: table {table} lacks {names}: publish the store again with this release")


class Store(Research):
    """A read-only store. Safe to share between threads. Raises the StoreError family on opening.

    In a script: `store = Store(Path("assets/demo/store.duckdb"))`, then `store.methods()`, `store.scores(1, clip_id)`
    and what research.py adds. `explorer/examples/error_analysis.py` shows it, and cases.py lists what looks wrong.
    """

    def __init__(self, path: Path, threads: int = 2, memory_limit: str = "1GB") -> None:
        self.path = path.resolve()
        self._threads, self._memory_limit = threads, memory_limit
        self._con = _open(self.path, threads, memory_limit)
        try:
            _check(self._con, self.path)
            self.info = StoreInfo(*self._rows("SELECT version, track_root, clip_root, note FROM store_info")[0])
            # DuckDB imports numpy with its first array; two threads that do so at once wait for each other for ever.
            self._con.cursor().execute("SELECT 1 AS whole, NULL::INTEGER AS absent").df()
            self._columns("SELECT 1 AS whole, NULL::INTEGER AS absent")
        except BaseException:
            self._con.close()
            raise
        self._search = Search(self._con)
        self.catalogue = Catalogue(self._con)  # questions about groups of tracks
        self._tracks: dict[int, TrackRecord] = {}
        self.track_sound = lru_cache(_SOUNDS_KEPT)(self._track_sound)
        self.moments = lru_cache(_MOMENTS_KEPT)(self._moments)
        self.score_columns = lru_cache(_CLIPS_KEPT)(self._score_columns)

    def close(self) -> None:
        self._con.close()

    def reopen(self) -> None:
        """Read the version of the store that lies at the same path now; queries under way end with the old one.

        Raises the StoreError family, or OSError where the folder takes no link; then all is as before.
        """
        # Within one process DuckDB gives a path that is open to whoever asks for it again, replaced or not: the new
        # version is opened under another name, which nobody needs once it is open.
        name = self.path.with_name(f".{self.path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.view")
        try:
            os.link(self.path, name)
            fresh = _open(name, self._threads, self._memory_limit)
        finally:
            name.unlink(missing_ok=True)
        try:
            _check(fresh, self.path)
        except BaseException:
            fresh.close()
            raise
        self._con, self._search, self.catalogue = (
            fresh,
            Search(fresh),
            Catalogue(fresh),
        )  # the old connection closes with the last query that uses it
        self.info = StoreInfo(*self._rows("SELECT version, track_root, clip_root, note FROM store_info")[0])
        self._tracks.clear()
        for kept in (self.track_sound, self.moments, self.score_columns):
            kept.cache_clear()

    def _rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        return self._con.cursor().execute(sql, args).fetchall()

    def _columns(self, sql: str, *args: object) -> dict[str, np.ndarray]:
        return self._con.cursor().execute(sql, args).fetchnumpy()

    def _one(self, what: str, row_id: int, sql: str) -> tuple[Any, ...]:
        """The row of `row_id`; raises UnknownIdError (also for an id that no INTEGER can hold)."""
        rows = self._rows(sql, row_id) if 0 <= row_id <= MAX_ID else []
        if not rows:
            raise UnknownIdError(f"no {what} {row_id} in this store")
        return rows[0]

    def run(self) -> RunRecord:
        """The run that published this store."""
        return RunRecord(
            *self._rows(
                "SELECT model_sha256, commit_hash, device, duration_s, started_at, config_toml, versions_json FROM runs"
                " ORDER BY run_id DESC LIMIT 1"
            )[0]
        )

    def methods(self) -> list[MethodRecord]:
        rows = self._rows(
            "SELECT method_id, name, label, description, has_moments, settings_json, cost_s FROM methods"
            " ORDER BY method_id"
        )
        return [MethodRecord(*row) for row in rows]

    def clips(self) -> list[ClipRecord]:
        """Clips that some method scored: generated ones, then users', then controls; each by id."""
        rows = self._rows(
            queries.CLIP + " WHERE c.clip_id IN (SELECT DISTINCT clip_id FROM scores)"
            " ORDER BY list_position(['generated', 'user', 'track'], c.kind), c.clip_id"
        )
        return [ClipRecord(*row) for row in rows]

    def clip(self, clip_id: int) -> ClipRecord:
        return ClipRecord(*self._one("clip", clip_id, queries.CLIP + " WHERE c.clip_id = ?"))

    def track(self, track_id: int) -> TrackRecord:
        return TrackRecord(*self._one("track", track_id, queries.TRACK + " WHERE track_id = ?"))

    def tracks(self, track_ids: Sequence[int]) -> dict[int, TrackRecord]:
        """Track by id; an unknown id is left out."""
        found = {i: track for i in track_ids if (track := self._tracks.get(i))}
        if missing := [i for i in track_ids if i not in found]:
            rows = self._rows(
                queries.TRACK + " WHERE list_contains(?::INTEGER[], track_id)", missing
            )  # faster than a join
            read = {row[0]: TrackRecord(*row) for row in rows}
            if len(self._tracks) + len(read) > _TRACKS_KEPT:
                self._tracks.clear()
            self._tracks.update(read)
            found.update(read)
        return found

    def _track_sound(self, track_id: int) -> SoundRecord:
        return _sound(self._one("track", track_id, queries.TRACK_SOUND))

    def clip_sound(self, clip_id: int) -> SoundRecord:
        """A clip of kind 'track' sounds as its track does, under that track's audition rule."""
        target, *row = self._one("clip", clip_id, queries.CLIP_SOUND)
        return _sound(tuple(row)) if target is None else self.track_sound(target)

    def collections(self) -> list[str]:
        """Every collection, by name."""
        return [row[0] for row in self._rows("SELECT DISTINCT collection FROM tracks ORDER BY collection")]

    def find_tracks(self, text: str = "", collection: str | None = None, by: str | None = None) -> np.ndarray:
        """Ids of the tracks that hold every word of `text` (accents and case apart), in one collection or in any.

        int32 [N], ordered by the column `by` (one of SORTABLE), else by id.
        """
        return self._search.find(text, collection, by)

    def planted(self) -> np.ndarray:
        """Ids of the planted cases, int32; they stay outside the statistics of decoys."""
        return self._columns("SELECT track_id FROM tracks WHERE planted IS NOT NULL")["track_id"]

    def listenable(self, excerpt_s: float) -> pd.DataFrame:
        """Tracks that may be heard and have audio, by id: track_id, is_decoy, planted, work_id, heard_s.

        `excerpt_s`: how much is heard of a track whose `audition` is 'excerpt'.
        """
        return self._con.cursor().execute(queries.LISTENABLE, (excerpt_s,)).df()

    def scores(self, method_id: int, clip_id: int) -> pd.DataFrame:
        """Every track of one clip, by `rank`: track_id, is_decoy, score, std_error, score_norm, std_error_norm,
        q_value, above_noise, rank, train_rank (nullable Int64, empty for decoys).
        """
        sql = queries.SCORES.format(", train_rank") + " ORDER BY rank"
        frame = self._con.cursor().execute(sql, (method_id, clip_id)).df()
        return frame.astype({"train_rank": "Int64"})

    def scores_of(self, method_id: int, clip_id: int, track_ids: Sequence[int]) -> pd.DataFrame:
        """`scores` of some tracks, but for train_rank, in the order of `track_ids`; one not scored is left out."""
        columns = self.score_columns(method_id, clip_id)
        scored = columns["track_id"]
        rows = np.searchsorted(scored, track_ids)
        here = rows < len(scored)
        here[here] = scored[rows[here]] == np.array(track_ids, dtype=int)[here]
        return pd.DataFrame({name: values[rows[here]] for name, values in columns.items()})

    def _score_columns(self, method_id: int, clip_id: int) -> dict[str, np.ndarray]:
        """What a ranking needs of every track, as arrays [N] by track_id, not to be changed: track_id, is_decoy,
        score, std_error, score_norm, std_error_norm, q_value, above_noise, rank.
        """
        columns = self._columns(queries.SCORES.format(""), method_id, clip_id)
        if (np.diff(columns["track_id"]) < 0).any():  # a store is written by track_id, but nothing makes it so
            order = np.argsort(columns["track_id"])
            columns = {name: values[order] for name, values in columns.items()}
        for values in columns.values():
            values.setflags(write=False)
        return columns

    def span_columns(self, method_id: int, clip_id: int, first: int, last: int) -> dict[str, np.ndarray]:
        """Windows `first` to `last` (from 1) of a clip, beside all windows of other clips; arrays [N] over tracks.

        track_id; total: of the span; windows, mean, spread: number, mean and standard deviation of the track's
        windows in other clips (of this clip where there is no other).
        """
        return self._columns(queries.SPAN, first, last, method_id, clip_id)

    def summaries(self, method_id: int) -> dict[int, Summary]:
        """By clip, for every clip that this method scored."""
        rows = self._rows(queries.SUMMARY + " WHERE method_id = ? ORDER BY clip_id", method_id)
        records = [(*row[:8], row[8:11], row[11:14], *row[14:17], tuple(row[17])) for row in rows]
        return {record[0]: Summary(*record) for record in records}

    def _moments(self, method_id: int, clip_id: int, track_id: int) -> TrackMoments | None:
        """None where the run kept no moments of this track (it keeps those of the best-ranked ones)."""
        rows = self._rows(
            "SELECT rate_hz, influence FROM moments WHERE method_id = ? AND clip_id = ? AND track_id = ?",
            method_id,
            clip_id,
            track_id,
        )
        return TrackMoments(rows[0][0], tuple(rows[0][1])) if rows else None

    def clip_moments(self, method_id: int, clip_id: int, track_ids: Sequence[int]) -> ClipMoments | None:
        """Influence over the clip, of some tracks; None where the run kept none for this clip."""
        rows = self._rows(
            "SELECT track_id, window_s, influence FROM clip_moments WHERE method_id = ? AND clip_id = ?"
            " AND track_id IN (SELECT unnest(?::INTEGER[]))",
            method_id,
            clip_id,
            list(track_ids),
        )
        return ClipMoments(rows[0][1], {row[0]: tuple(row[2]) for row in rows}) if rows else None

    def clip_windows(self, method_id: int, clip_id: int) -> tuple[int, float]:
        """(how many windows of this clip have scores of their own, their length in seconds); (0, 0.0) for none."""
        rows = self._rows(
            "SELECT len(influence), window_s FROM clip_moments WHERE method_id = ? AND clip_id = ? LIMIT 1",
            method_id,
            clip_id,
        )
        return (rows[0][0], rows[0][1]) if rows else (0, 0.0)

    def diagnostics(self, method_id: int) -> list[Diagnostic]:
        """What the run found about itself, by name, then along training."""
        rows = self._rows(
            "SELECT checkpoint_step, name, value, meaning FROM diagnostics WHERE method_id = ?"
            " ORDER BY name, checkpoint_step",
            method_id,
        )
        return [Diagnostic(*row) for row in rows]


def _sound(row: tuple[Any, ...]) -> SoundRecord:
    duration_s, path, of_clip, audition, loudness, peak, peaks = row
    return SoundRecord(duration_s, path, of_clip, audition, loudness, peak, tuple(peaks or ()))

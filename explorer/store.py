"""The only door to the store: opens it read-only, checks its version, holds every query.

Conventions: ids in; frozen dataclasses or DataFrames out. Scores: higher = stronger influence. Ranks: 1 =
strongest. Durations in seconds, loudness in LUFS, peaks in dBFS. Each call takes its own cursor, because one
DuckDB connection shared by threads returns wrong rows without an error. An unknown id raises UnknownIdError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

SCHEMA_VERSION = 1
MAX_ID = 2**31 - 1  # ids are INTEGER
_Config = dict[str, str | bool | int | float | list[str]]  # as DuckDB types it
_SAFE: _Config = {
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "lock_configuration": True,
}
_OPEN_HINT = "make one with `make demo`, or name one with --store PATH"


class StoreError(Exception):
    """The store cannot be read; the message is one line that says what to do."""


class StoreMissingError(StoreError):
    """There is no file at this path."""


class StoreFormatError(StoreError):
    """The file is not a DuckDB file that this DuckDB can read."""


class StoreBusyError(StoreError):
    """Another process has the file open for writing."""


class StoreTableError(StoreError):
    """A table or a column of the contract is missing."""


class StoreVersionError(StoreError):
    """The store follows another version of the contract."""


class StoreEmptyError(StoreError):
    """The store holds nothing to show."""


class UnknownIdError(StoreError, LookupError):
    """No row has this id."""


@dataclass(frozen=True)
class StoreInfo:
    version: int
    track_root: str  # folder of the tracks' audio, relative to the store's folder
    clip_root: str  # folder of the clips' audio, relative to the store's folder
    note: str | None  # what a reader must know of this run


@dataclass(frozen=True)
class Sound:
    """What is needed to hear and draw one item."""

    duration_s: float
    audio_path: str | None  # relative to track_root, or to clip_root where `of_clip`
    of_clip: bool
    audition: str  # 'full', 'excerpt' or 'none'
    loudness_lufs: float | None
    peak_dbfs: float | None
    peaks: tuple[int, ...]  # largest magnitude per bin over the whole duration, 255 = full scale


@dataclass(frozen=True)
class Clip:
    clip_id: int
    kind: str  # 'generated', 'track' or 'user'
    target_track_id: int | None  # kind 'track': the training track that was unlearned
    prompt: str | None
    seed: int | None
    duration_s: float
    target_title: str | None


@dataclass(frozen=True)
class Track:
    track_id: int
    is_decoy: bool
    title: str
    composer: str
    collection: str
    licence: str  # composition / encoding


@dataclass(frozen=True)
class Method:
    method_id: int
    name: str
    label: str
    description: str


@dataclass(frozen=True)
class Run:
    model_sha256: str  # of the weights that every score refers to
    commit_hash: str | None
    device: str
    duration_s: float


@dataclass(frozen=True)
class Moments:
    rate_hz: float
    influence: tuple[float, ...]  # value i covers [i, i + 1) / rate_hz seconds of the track


@dataclass(frozen=True)
class Diagnostic:
    checkpoint_step: int  # training step of the weights; the largest is that of the scores
    name: str
    value: float
    meaning: str


@cache
def contract() -> Mapping[str, frozenset[str]]:
    """Table -> columns, read from schema.sql itself, so that the check cannot drift from the contract."""
    with duckdb.connect(":memory:", config=_SAFE) as con:
        con.execute((Path(__file__).parent / "schema.sql").read_text(encoding="utf-8"))
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


class Store:
    """A read-only store. Safe to share between threads. Raises the StoreError family on opening."""

    def __init__(self, path: Path, threads: int = 2, memory_limit: str = "1GB") -> None:
        self.path = path.resolve()
        self._con = _open(self.path, threads, memory_limit)
        try:
            _check(self._con, self.path)
            self.info = StoreInfo(*self._rows("SELECT version, track_root, clip_root, note FROM store_info")[0])
        except BaseException:
            self._con.close()
            raise

    def close(self) -> None:
        self._con.close()

    def _rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        return self._con.cursor().execute(sql, args).fetchall()

    def _one(self, what: str, row_id: int, sql: str) -> tuple[Any, ...]:
        """The row of `row_id`; raises UnknownIdError (also for an id that no INTEGER can hold)."""
        rows = self._rows(sql, row_id) if 0 <= row_id <= MAX_ID else []
        if not rows:
            raise UnknownIdError(f"no {what} {row_id} in this store")
        return rows[0]

    def run(self) -> Run:
        """The run that published this store."""
        return Run(
            *self._rows("SELECT model_sha256, commit_hash, device, duration_s FROM runs ORDER BY run_id DESC")[0]
        )

    def methods(self) -> list[Method]:
        rows = self._rows("SELECT method_id, name, label, description FROM methods ORDER BY method_id")
        return [Method(*row) for row in rows]

    def clips(self) -> list[Clip]:
        """Clips that some method scored: generated ones, then users', then controls; each by id."""
        rows = self._rows(
            _CLIP + " WHERE c.clip_id IN (SELECT DISTINCT clip_id FROM scores)"
            " ORDER BY list_position(['generated', 'user', 'track'], c.kind), c.clip_id"
        )
        return [Clip(*row) for row in rows]

    def clip(self, clip_id: int) -> Clip:
        return Clip(*self._one("clip", clip_id, _CLIP + " WHERE c.clip_id = ?"))

    def track(self, track_id: int) -> Track:
        return Track(*self._one("track", track_id, _TRACK + " WHERE track_id = ?"))

    def tracks(self, track_ids: Sequence[int]) -> dict[int, Track]:
        """Track by id; an unknown id is left out."""
        rows = self._rows(_TRACK + " WHERE track_id IN (SELECT unnest(?::INTEGER[]))", list(track_ids))
        return {row[0]: Track(*row) for row in rows}

    def track_sound(self, track_id: int) -> Sound:
        return _sound(self._one("track", track_id, _TRACK_SOUND))

    def clip_sound(self, clip_id: int) -> Sound:
        """A clip of kind 'track' sounds as its track does, under that track's audition rule."""
        clip = self.clip(clip_id)
        if clip.target_track_id is not None:
            return self.track_sound(clip.target_track_id)
        return _sound(self._one("clip", clip_id, _CLIP_SOUND))

    def scores(self, method_id: int, clip_id: int) -> pd.DataFrame:
        """Every track of one clip, by `rank`: track_id, is_decoy, score, std_error, score_norm, std_error_norm,
        q_value, above_noise, rank, train_rank (nullable Int64, empty for decoys), raw_rank (by `score`, with decoys).
        """
        return (
            self._con.cursor()
            .execute(
                "SELECT s.track_id, t.is_decoy, s.score, s.std_error, s.score_norm, s.std_error_norm,"
                " s.q_value, s.above_noise,"
                " s.rank, s.train_rank, row_number() OVER (ORDER BY s.score DESC, s.track_id) AS raw_rank"
                " FROM scores s JOIN tracks t USING (track_id) WHERE s.method_id = ? AND s.clip_id = ?"
                " ORDER BY s.rank, s.track_id",
                (method_id, clip_id),
            )
            .df()
            .astype({"train_rank": "Int64"})
        )

    def moments(self, method_id: int, clip_id: int, track_id: int) -> Moments | None:
        """None where the run kept no moments of this track (it keeps those of the best-ranked ones)."""
        rows = self._rows(
            "SELECT rate_hz, influence FROM moments WHERE method_id = ? AND clip_id = ? AND track_id = ?",
            method_id,
            clip_id,
            track_id,
        )
        return Moments(rows[0][0], tuple(rows[0][1])) if rows else None

    def diagnostics(self, method_id: int) -> list[Diagnostic]:
        """What the run found about itself, by name, then along training."""
        rows = self._rows(
            "SELECT checkpoint_step, name, value, meaning FROM diagnostics WHERE method_id = ?"
            " ORDER BY name, checkpoint_step",
            method_id,
        )
        return [Diagnostic(*row) for row in rows]


_CLIP = (
    "SELECT c.clip_id, c.kind, c.target_track_id, c.prompt, c.seed, c.duration_s, t.title"
    " FROM clips c LEFT JOIN tracks t ON t.track_id = c.target_track_id"
)
_TRACK = (
    "SELECT track_id, is_decoy, title, composer, collection, licence_composition || ' / ' || licence_encoding"
    " FROM tracks"
)
_TRACK_SOUND = (
    "SELECT duration_s, audio_path, false, audition, loudness_lufs, peak_dbfs, peaks FROM tracks WHERE track_id = ?"
)
_CLIP_SOUND = (
    "SELECT duration_s, audio_path, true, 'full', loudness_lufs, peak_dbfs, peaks FROM clips WHERE clip_id = ?"
)


def _sound(row: tuple[Any, ...]) -> Sound:
    duration_s, path, of_clip, audition, loudness, peak, peaks = row
    return Sound(duration_s, path, of_clip, audition, loudness, peak, tuple(peaks or ()))

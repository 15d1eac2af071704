"""Rows -> a DuckDB file written beside -> checked -> renamed into place: readers never see half a store."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from precompute.common.files import part_path, replace_atomically
from precompute.errors import UserError

Columns = dict[str, Any]  # column name -> list or array, all of one length
EXPLORER = Path(__file__).resolve().parents[2] / "explorer"
SCHEMA, DERIVED = EXPLORER / "schema.sql", EXPLORER / "derived.sql"
SMALL_ROWS = 1_000_000  # a store with fewer scores takes small blocks: half the bytes
DERIVED_TABLES = ("summaries", "window_sums")
LISTS = {"moments": "influence", "clip_moments": "influence"}  # finite numbers inside lists, which no CHECK can see


@dataclass
class StoreContents:
    """Every table of the schema but the derived ones, by column."""

    store_info: Columns
    runs: Columns
    tracks: Columns
    clips: Columns
    methods: Columns
    scores: Columns
    score_parts: Columns
    moments: Columns
    clip_moments: Columns
    diagnostics: Columns = field(default_factory=dict)
    holders: Columns = field(default_factory=dict)
    skipped_methods: Columns = field(default_factory=dict)
    aspects: Columns = field(default_factory=dict)
    passages: Columns = field(default_factory=dict)
    agreement: Columns = field(default_factory=dict)
    evaluations: Columns = field(default_factory=dict)

    def tables(self) -> dict[str, Columns]:
        """In an order that satisfies the foreign keys."""
        return dict(vars(self).items())


def publish(contents: StoreContents, path: Path) -> None:
    """Write the store. On any failure nothing is left behind and a store that was there stays as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = len(contents.scores["score"]) < SMALL_ROWS
    with (
        _beside(path) as beside,
        _connected(beside, {"default_block_size": 16_384 if small else 262_144}) as connection,
    ):
        connection.execute(SCHEMA.read_text(encoding="utf-8"))
        for name, columns in contents.tables().items():
            _insert(connection, name, columns)
        _finish(connection)


def extend(path: Path, tables: dict[str, Columns], note: str | None) -> None:
    """Publish a new version of the store: the old one with further rows, named by table, and another note.

    As with `publish`, a failure leaves the store as it was.
    """
    with _beside(path) as beside:
        shutil.copyfile(path, beside)
        with _connected(beside, {}) as connection:
            for name, columns in tables.items():
                _insert(connection, name, columns)
            connection.execute("UPDATE store_info SET note = ?", [note])
            for derived in DERIVED_TABLES:
                connection.execute(f"DELETE FROM {derived}")
            _finish(connection)


def replace_rows(path: Path, name: str, columns: Columns) -> None:
    """Publish a new version of the store in which a table that nothing is derived from holds these rows alone.

    As with `publish`, a failure leaves the store as it was.
    """
    with _beside(path) as beside:
        shutil.copyfile(path, beside)
        with _connected(beside, {}) as connection:
            connection.execute(f"DELETE FROM {name}")
            _insert(connection, name, columns)
            connection.execute("CHECKPOINT")


@contextmanager
def _connected(beside: Path, options: dict[str, int]) -> Iterator[Any]:
    import duckdb

    connection = duckdb.connect(str(beside), config={"threads": 2, **options})
    try:
        yield connection
    finally:
        connection.close()


def _finish(connection: Any) -> None:
    """Check, fill the derived tables, and leave nothing for a log."""
    _check(connection)
    connection.execute(DERIVED.read_text(encoding="utf-8"))
    connection.execute("CHECKPOINT")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write the store under; renamed into place when all went well."""
    import duckdb

    remove_abandoned(path)
    try:
        with replace_atomically(path) as beside:
            yield beside
    except (duckdb.IOException, duckdb.FatalException) as error:  # fatal: a checkpoint that finds no room
        raise UserError(f"{path}: the store could not be written ({str(error).splitlines()[0]})") from error
    except duckdb.ConstraintException as error:
        raise UserError(f"{path}: a result breaks the store's rules ({str(error).splitlines()[0]})") from error
    finally:
        part = part_path(path)
        part.with_name(part.name + ".wal").unlink(missing_ok=True)


def merged(parts: list[Columns]) -> Columns:
    """Tables of the same columns, one below the other; empty ones may lack them all."""
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return parts[0] if parts else {}
    return {
        name: np.concatenate([part[name] for part in parts])
        if all(isinstance(part[name], np.ndarray) for part in parts)
        else [value for part in parts for value in part[name]]
        for name in parts[0]
    }


def remove_abandoned(path: Path) -> None:
    """Delete what publishing processes that no longer run have left beside the store."""
    for left in path.parent.glob(f".{path.name}.*.part*"):
        pid = left.name.removeprefix(f".{path.name}.").split(".")[0]
        if not pid.isdigit() or int(pid) == os.getpid() or not _runs(int(pid)):
            left.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends nothing: asks whether it is there
    except ProcessLookupError:
        return False
    except PermissionError:  # it is, and belongs to somebody else
        return True
    return True


def _insert(connection: Any, name: str, columns: Columns) -> None:
    import pyarrow

    if not columns or not len(next(iter(columns.values()))):
        return
    table = pyarrow.table({key: pyarrow.array(_plain(values)) for key, values in columns.items()})
    connection.register("rows", table)
    names = ", ".join(columns)
    connection.execute(f"INSERT INTO {name} ({names}) SELECT {names} FROM rows")
    connection.unregister("rows")


def _plain(values: Any) -> Any:
    """Lists of arrays stay lists; arrays stay arrays (Arrow reads both without a copy by row)."""
    return values if isinstance(values, np.ndarray) else list(values)


def _check(connection: Any) -> None:
    """What the schema's own checks cannot see. Raises UserError naming table and column."""
    for table, column in LISTS.items():
        bad = connection.execute(
            f"SELECT count(*) FROM (SELECT unnest({column}) AS value FROM {table}) WHERE NOT isfinite(value)"
        ).fetchone()[0]
        if bad:
            raise UserError(f"{table}.{column} holds {bad} values that are not finite; nothing was published")
    orphans = connection.execute(
        "SELECT count(*) FROM scores s ANTI JOIN tracks t USING (track_id)"
        " UNION ALL SELECT count(*) FROM scores s ANTI JOIN clips c USING (clip_id)"
    ).fetchall()
    if any(row[0] for row in orphans):
        raise UserError("scores name tracks or clips that the store does not hold; nothing was published")


def relative_root(folder: Path, store: Path) -> str:
    """`folder` as a path relative to the store's folder, with forward slashes."""
    return Path(os.path.relpath(folder.resolve(), store.resolve().parent)).as_posix()


def relative_path(path: Path, root: Path) -> str:
    """`path` below `root`, with forward slashes. Raises UserError where it lies outside."""
    relative = Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()
    if relative.startswith("../") or posixpath.isabs(relative):
        raise UserError(f"{path}: lies outside {root}, where the page would not serve it")
    return relative

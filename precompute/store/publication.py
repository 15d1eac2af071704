"""Columns -> a DuckDB file written beside -> checked -> renamed into place: readers never see half a store."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.store.database import is_damage
from explorer.store.errors import StoreDamagedError
from precompute.common.files import is_running, part_path, replace_atomically
from precompute.common.locks import lock_store
from precompute.errors import UserError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Columns = dict[str, Any]  # column name -> list or array, all of one length
EXPLORER = Path(__file__).resolve().parents[2] / "explorer"
SCHEMA, DERIVED = EXPLORER / "schema.sql", EXPLORER / "derived.sql"
SMALL_ROWS = 1_000_000  # scores; a store with fewer takes small blocks: half the bytes
SMALL_BLOCK, BLOCK = 16_384, 262_144  # bytes
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
    match_bins: Columns
    track_claims: Columns
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

    @property
    def tables(self) -> dict[str, Columns]:
        """Columns by table, in an order that satisfies the foreign keys."""
        return dict(vars(self))

    def add_rows(self, further: dict[str, Columns]) -> StoreContents:
        """These tables, with further rows below those of the tables that `further` names."""
        stacked = {name: stack_tables([self.tables[name], columns]) for name, columns in further.items()}
        return replace(self, **stacked)


def publish_store(contents: StoreContents, path: Path) -> None:
    """Write a store from nothing. On any failure nothing is left behind and a store that was there stays as it was.

    Waits for another command that changes the store. Raises UserError where a result breaks the schema's rules or the
    file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock_store(path), write_new_version(path, scores=len(contents.scores["score"])) as connection:
        connection.execute(SCHEMA.read_text(encoding="utf-8"))
        for name, columns in contents.tables.items():
            insert_rows(connection, name, columns)
        finish_store(connection)


def extend_store(
    path: Path, tables: dict[str, Columns], note: str | None, before_rename: Callable[[], object] | None = None
) -> None:
    """Publish a new version of the store: the old one with further rows, named by table, and another note.

    `before_rename`: see `write_new_version`. The caller holds the store's lock. As with `publish_store`, a failure
    leaves the store as it was. Raises UserError.
    """
    with write_new_version(path, before_rename=before_rename) as connection:
        for name, columns in tables.items():
            insert_rows(connection, name, columns)
        connection.execute("UPDATE store_info SET note = ?", [note])
        for derived in DERIVED_TABLES:
            connection.execute(f"DELETE FROM {derived}")
        finish_store(connection)


def replace_table(path: Path, name: str, columns: Columns) -> None:
    """Publish a new version of the store in which a table that nothing is derived from holds these rows alone.

    The caller holds the store's lock. As with `publish_store`, a failure leaves the store as it was. Raises UserError.
    """
    with write_new_version(path) as connection:
        connection.execute(f"DELETE FROM {name}")
        insert_rows(connection, name, columns)


@contextmanager
def write_new_version(
    path: Path, scores: int | None = None, before_rename: Callable[[], object] | None = None
) -> Iterator[DuckDBPyConnection]:
    """Connect to a file beside the store, renamed to `path` where the block ends well, else removed.

    `scores`: begin with an empty file, with blocks for about so many rows of scores; None: with a copy of the store.
    `before_rename`: called when the new version is complete, so that the rename is the last step of a change. The
    caller holds the store's lock. Raises UserError where the file cannot be written, a row breaks the schema's rules,
    or the old version is damaged.
    """
    import duckdb

    path = path.resolve()
    old = ", the old one is as it was" if path.exists() else ""
    try:
        sweep_leftovers(path)
        with replace_atomically(path) as beside:
            options: dict[str, str | bool | int | float | list[str]] = {"threads": 2}
            if scores is None:
                shutil.copyfile(path, beside)
            else:
                options["default_block_size"] = SMALL_BLOCK if scores < SMALL_ROWS else BLOCK
            connection = duckdb.connect(str(beside), config=options)
            try:
                yield connection
                connection.execute("CHECKPOINT")  # leaves nothing for a log
            finally:
                connection.close()
            if before_rename is not None:
                before_rename()
    except duckdb.ConstraintException as error:
        raise UserError(f"{path}: a result breaks the store's rules ({str(error).splitlines()[0]})") from error
    except (duckdb.Error, OSError) as error:
        if isinstance(error, duckdb.Error) and is_damage(error):
            raise UserError(str(StoreDamagedError.of(path, error))) from error
        if isinstance(error, (duckdb.IOException, duckdb.FatalException, OSError)):  # fatal: no room for a checkpoint
            raise UserError(f"{path}: the store could not be written{old} ({str(error).splitlines()[0]})") from error
        raise
    finally:
        part = part_path(path)
        part.with_name(part.name + ".wal").unlink(missing_ok=True)


def insert_rows(connection: DuckDBPyConnection, name: str, columns: Columns) -> None:
    """Add rows to a table, by column. NaN in an array stands for an absent value."""
    import pyarrow

    if not columns or not len(next(iter(columns.values()))):
        return
    # lists of arrays stay lists, arrays stay arrays: Arrow reads both without a copy by row
    plain = {key: values if isinstance(values, np.ndarray) else list(values) for key, values in columns.items()}
    # NaN in an array: absent; within lists it stays, and `finish_store` finds it
    arrow = {key: pyarrow.array(values, from_pandas=isinstance(values, np.ndarray)) for key, values in plain.items()}
    connection.register("rows", pyarrow.table(arrow))
    names = ", ".join(columns)
    connection.execute(f"INSERT INTO {name} ({names}) SELECT {names} FROM rows")
    connection.unregister("rows")


def finish_store(connection: DuckDBPyConnection) -> None:
    """Check what the schema's own checks cannot see, and fill the derived tables. Raises UserError."""
    for table, column in LISTS.items():
        [(bad,)] = connection.execute(
            f"SELECT count(*) FROM (SELECT unnest({column}) AS value FROM {table}) WHERE NOT isfinite(value)"
        ).fetchall()
        if bad:
            raise UserError(f"{table}.{column} holds {bad} values that are not finite; nothing was published")
    orphans = connection.execute(
        "SELECT count(*) FROM scores s ANTI JOIN tracks t USING (track_id)"
        " UNION ALL SELECT count(*) FROM scores s ANTI JOIN clips c USING (clip_id)"
    ).fetchall()
    if any(row[0] for row in orphans):
        raise UserError("scores name tracks or clips that the store does not hold; nothing was published")
    connection.execute(DERIVED.read_text(encoding="utf-8"))


def sweep_leftovers(path: Path) -> None:
    """Delete what killed processes have left beside the store; the caller holds its lock, so no writer is at work.

    A reader that opens a new version has it under a name of its own for a moment: that stays while the reader runs.
    """
    for left in path.parent.glob(f".{path.name}.*"):
        pid, _, kind = left.name.removeprefix(f".{path.name}.").partition(".")
        pid = pid.split("-")[0]
        if pid.isdigit() and (kind.startswith("part") or (kind == "view" and not is_running(int(pid)))):
            left.unlink(missing_ok=True)


def stack_tables(parts: Sequence[Columns]) -> Columns:
    """Rows of several tables with the same columns, one below the other; an empty one may lack them all."""
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return parts[0] if parts else {}
    return {
        name: np.concatenate([part[name] for part in parts])
        if all(isinstance(part[name], np.ndarray) for part in parts)
        else [value for part in parts for value in part[name]]
        for name in parts[0]
    }


def make_relative_root(folder: Path, store: Path) -> str:
    """`folder` as a path relative to the store's folder, with forward slashes."""
    return Path(os.path.relpath(folder.resolve(), store.resolve().parent)).as_posix()


def make_relative_path(path: Path, root: Path) -> str:
    """`path` below `root`, with forward slashes. Raises UserError where it lies outside."""
    relative = Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()
    if relative.startswith("../") or posixpath.isabs(relative):
        raise UserError(f"{path}: lies outside {root}, where the page would not serve it")
    return relative

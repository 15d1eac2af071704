"""One version of a store, open read-only: checked against schema.sql, safe to share between threads.

Every query takes a cursor of its own, because one DuckDB connection shared by threads returns wrong rows without an
error.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from explorer.store.errors import (
    StoreBusyError,
    StoreDamagedError,
    StoreFormatError,
    StoreMissingError,
    StoreTableError,
    StoreVersionError,
    UnknownIdError,
)

SCHEMA_VERSION = 4
MAX_ID = 2**31 - 1  # ids are INTEGER
_Config = dict[str, str | bool | int | float | list[str]]  # as DuckDB types it
_SAFE: _Config = {
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "lock_configuration": True,
}
_LOCKED = "Could not set lock on file"  # in DuckDB's words, as all of these
_NO_DATABASE = ("not a valid DuckDB database file", "Trying to read a database file with version number")
_DAMAGE = ("Corrupt database file", "Could not read enough bytes", "checksum")
_OPEN_HINT = "make one with `make demo`, or name one with --store PATH"


@cache
def contract() -> Mapping[str, frozenset[str]]:
    """Table -> columns, read from schema.sql itself, so that the check cannot drift from the contract."""
    with duckdb.connect(":memory:", config=_SAFE) as con:
        con.execute((Path(__file__).parents[1] / "schema.sql").read_text(encoding="utf-8"))
        return {table: _list_columns(con, table) for table in _list_tables(con)}


def is_damage(error: duckdb.Error) -> bool:
    """True where DuckDB tells of a file that is damaged, and not of a disk, a query or another process."""
    internal = isinstance(error, (duckdb.InternalException, duckdb.SerializationException))
    return internal or any(words in str(error) for words in _DAMAGE)


class Database:
    """An open connection to a checked store, and the ways to query it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        """Check `connection`, open to the store at `path`.

        Raises StoreTableError, StoreVersionError or StoreDamagedError, and closes it then.
        """
        self.connection, self.path = connection, path
        try:
            with self._watch():
                _check(connection, path)
            # DuckDB imports numpy with its first array; two threads that do so at once wait for each other for ever.
            self.fetch_frame("SELECT 1 AS whole, NULL::INTEGER AS absent")
            self.fetch_columns("SELECT 1 AS whole, NULL::INTEGER AS absent")
        except BaseException:
            connection.close()
            raise

    @classmethod
    def open(cls, path: Path, threads: int, memory_limit: str) -> Database:
        """Open the store at `path`. Raises the StoreError family."""
        return cls(_connect(path, threads, memory_limit), path)

    @classmethod
    def open_replaced(cls, path: Path, threads: int, memory_limit: str) -> Database:
        """Open the file that lies at `path` now, though this process may have an older one of that name open.

        Within one process DuckDB gives a path that is open to whoever asks for it again, replaced or not: the new
        version is opened under another name, which nobody needs once it is open. Raises the StoreError family, or
        OSError where the folder takes no link.
        """
        name = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.view")
        try:
            os.link(path, name)
            connection = _connect(name, threads, memory_limit)
        finally:
            name.unlink(missing_ok=True)
        return cls(connection, path)

    def close(self) -> None:
        """Close the file; no query works after it."""
        self.connection.close()

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Every query is right for a store that was checked: what DuckDB cannot read of it then is damage."""
        try:
            yield
        except (duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.ConnectionException):
            raise
        except duckdb.Error as error:
            raise StoreDamagedError.of(self.path, error) from error

    def fetch_rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        """All rows as tuples. Raises StoreDamagedError, as every query."""
        with self._watch():
            return self.connection.cursor().execute(sql, args).fetchall()

    def fetch_records(self, sql: str, *args: object) -> list[dict[str, Any]]:
        """All rows by column."""
        with self._watch():
            rows = self.connection.cursor().execute(sql, args)
            names = [column[0] for column in rows.description or ()]
            return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]

    def fetch_row(self, what: str, row_id: int, sql: str) -> tuple[Any, ...]:
        """The one row of `row_id`, a `what`. Raises UnknownIdError, also for an id that no INTEGER can hold."""
        rows = self.fetch_rows(sql, row_id) if 0 <= row_id <= MAX_ID else []
        if not rows:
            raise UnknownIdError(f"no {what} {row_id} in this store")
        return rows[0]

    def fetch_columns(self, sql: str, *args: object) -> dict[str, np.ndarray]:
        """Column -> array [rows]; a NULL among floats is NaN."""
        with self._watch():
            columns = self.connection.cursor().execute(sql, args).fetchnumpy()
        return {name: _fill_absent(values) for name, values in columns.items()}

    def fetch_frame(self, sql: str, *args: object) -> pd.DataFrame:
        """All rows as a DataFrame."""
        with self._watch():
            return self.connection.cursor().execute(sql, args).df()


def _fill_absent(values: np.ndarray) -> np.ndarray:
    """A masked array of floats as a plain one with NaN; anything else as it is."""
    if isinstance(values, np.ma.MaskedArray) and np.issubdtype(values.dtype, np.floating):
        return values.filled(np.nan)
    return values


def _list_tables(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Names of the tables that are none but tables: a view is a query, which could do anything once it runs."""
    sql = "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = 'main'"
    return {row[0] for row in con.execute(sql).fetchall()}


def _list_columns(con: duckdb.DuckDBPyConnection, table: str) -> frozenset[str]:
    """Columns of what `_list_tables` gives."""
    return frozenset(column[0] for column in con.execute(f"SELECT * FROM main.{table} LIMIT 0").description or ())


def _connect(path: Path, threads: int, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Raises StoreMissingError, StoreBusyError, StoreFormatError or StoreDamagedError."""
    if not path.is_file():
        raise StoreMissingError(f"no store at {path}: {_OPEN_HINT}")
    config: _Config = {"threads": threads, "memory_limit": memory_limit, **_SAFE}
    try:
        return duckdb.connect(str(path), read_only=True, config=config)
    except duckdb.Error as error:
        if _LOCKED in str(error):
            raise StoreBusyError(f"{path} is being written by another process: try again when it is done") from error
        if any(words in str(error) for words in _NO_DATABASE):
            raise StoreFormatError(
                f"{path} is not a DuckDB file that DuckDB {duckdb.__version__} can read: {_OPEN_HINT}"
            ) from error
        raise StoreDamagedError.of(path, error) from error


def _check(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raises StoreTableError or StoreVersionError. The version comes first: it explains a missing column.

    Nothing is asked of a table before it is known to be one.
    """
    present = _list_tables(con)
    views = con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL").fetchall()
    for (name,) in views:
        if name in contract():
            raise StoreTableError(f"{path}: {name} is a view and must be a table: publish the store again")
    if "store_info" not in present:
        raise StoreTableError(f"{path} has no table store_info, so it is not a Whence store: {_OPEN_HINT}")
    versions = [row[0] for row in con.execute("SELECT version FROM store_info").fetchall()]
    if versions != [SCHEMA_VERSION]:
        version = "no version" if not versions else "version " + ", ".join(map(str, versions))
        raise StoreVersionError(
            f"{path} has {version}, this explorer reads version {SCHEMA_VERSION}: "
            "publish the store again with this release, or install the release that wrote it"
        )
    for table, columns in contract().items():
        if table not in present:
            raise StoreTableError(f"{path} has no table {table}: publish the store again with this release")
        if missing := columns - _list_columns(con, table):
            names = ", ".join(sorted(missing))
            raise StoreTableError(f"{path}: table {table} lacks {names}: publish the store again with this release")

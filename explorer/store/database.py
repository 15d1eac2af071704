"""One version of a store, open read-only: checked against schema.sql, safe to share between threads.

Every query takes a cursor of its own, because one DuckDB connection shared by threads returns wrong rows without an
error.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from explorer.store.errors import (
    StoreBusyError,
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
_OPEN_HINT = "make one with `make demo`, or name one with --store PATH"


@cache
def contract() -> Mapping[str, frozenset[str]]:
    """Table -> columns, read from schema.sql itself, so that the check cannot drift from the contract."""
    with duckdb.connect(":memory:", config=_SAFE) as con:
        con.execute((Path(__file__).parents[1] / "schema.sql").read_text(encoding="utf-8"))
        return _list_tables(con)


class Database:
    """An open connection to a checked store, and the ways to query it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        """Check `connection`, open to the store at `path`. Raises StoreTableError or StoreVersionError, closed then."""
        self.connection = connection
        try:
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

    def fetch_rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        """All rows as tuples."""
        return self.connection.cursor().execute(sql, args).fetchall()

    def fetch_row(self, what: str, row_id: int, sql: str) -> tuple[Any, ...]:
        """The one row of `row_id`, a `what`. Raises UnknownIdError, also for an id that no INTEGER can hold."""
        rows = self.fetch_rows(sql, row_id) if 0 <= row_id <= MAX_ID else []
        if not rows:
            raise UnknownIdError(f"no {what} {row_id} in this store")
        return rows[0]

    def fetch_columns(self, sql: str, *args: object) -> dict[str, np.ndarray]:
        """Column -> array [rows]; a NULL among floats is NaN."""
        columns = self.connection.cursor().execute(sql, args).fetchnumpy()
        return {name: _fill_absent(values) for name, values in columns.items()}

    def fetch_frame(self, sql: str, *args: object) -> pd.DataFrame:
        """All rows as a DataFrame."""
        return self.connection.cursor().execute(sql, args).df()


def _fill_absent(values: np.ndarray) -> np.ndarray:
    """A masked array of floats as a plain one with NaN; anything else as it is."""
    if isinstance(values, np.ma.MaskedArray) and np.issubdtype(values.dtype, np.floating):
        return values.filled(np.nan)
    return values


def _list_tables(con: duckdb.DuckDBPyConnection) -> dict[str, frozenset[str]]:
    rows = con.execute(
        "SELECT table_name, list(column_name) FROM information_schema.columns "
        "WHERE table_schema = 'main' GROUP BY table_name"
    ).fetchall()
    return {table: frozenset(columns) for table, columns in rows}


def _connect(path: Path, threads: int, memory_limit: str) -> duckdb.DuckDBPyConnection:
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
    present = _list_tables(con)
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
        if missing := columns - present[table]:
            names = ", ".join(sorted(missing))
            raise StoreTableError(f"{path}: table {table} lacks {names}: publish the store again with this release")

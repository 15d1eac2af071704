"""The SQLite side of the sessions file: open it, check or create its tables, read and write in transactions.

A transaction that has returned is on the disk (WAL, synchronous=FULL): neither a killed process nor a power cut takes
it back. One connection behind one lock; a second process is refused. A file of an older version is brought to this one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.store.errors import SessionFileError

_SCRIPTS = ("sessions.sql", "sessions_2.sql", "sessions_3.sql")  # each brings a file to the next version
VERSION = len(_SCRIPTS)
_MARKS = ("application_id", "user_version")
_APPLICATION = 0x57686E63  # "Whnc": tells our files from other SQLite files


class SessionDatabase:
    """An open sessions file. Safe to share between threads. Raises SessionFileError on opening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._con = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise SessionFileError(f"cannot open the sessions file {path}: {error}") from error
        try:
            self._prepare()
        except BaseException:
            self._con.close()
            raise

    def _prepare(self) -> None:
        try:
            # Exclusive: a second server on the same file is refused, instead of both writing to it.
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._con.execute(f"PRAGMA {pragma}")
            self._con.execute("PRAGMA secure_delete=ON")
            self._con.execute("BEGIN IMMEDIATE")
            try:
                self._check_or_create()
                self._con.execute("COMMIT")
            except BaseException:
                if self._con.in_transaction:
                    self._con.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise SessionFileError(f"the sessions file {self.path} is in use by another explorer") from error
            raise SessionFileError(f"cannot use the sessions file {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise SessionFileError(
                f"{self.path} is not a sessions file: name another with --sessions PATH, it is made where none is"
            ) from error

    def _check_or_create(self) -> None:
        application, version = (self._con.execute(f"PRAGMA {name}").fetchone()[0] for name in _MARKS)
        if self._con.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            self._run_scripts(*_SCRIPTS)
        elif application != _APPLICATION:
            raise SessionFileError(f"{self.path} is another program's SQLite file: name another with --sessions PATH")
        elif 1 <= version < VERSION:
            self._run_scripts(*_SCRIPTS[version:])
        elif version != VERSION:
            raise SessionFileError(f"{self.path} has version {version}, this explorer writes version {VERSION}")

    def _run_scripts(self, *names: str) -> None:
        """Run them statement by statement (executescript would end the transaction), then set this version's marks."""
        for name in names:
            text = Path(__file__).with_name(name).read_text(encoding="utf-8")
            for statement in "\n".join(line.split("--")[0] for line in text.splitlines()).split(";"):
                self._con.execute(statement)
        for mark, value in zip(_MARKS, (_APPLICATION, VERSION), strict=True):
            self._con.execute(f"PRAGMA {mark}={value}")

    def close(self) -> None:
        """Close the file; SQLite then removes its log, so that the file can be copied."""
        with self._lock:
            self._con.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on the disk once the block is left without an error, rolled back otherwise."""
        with self._lock:
            self._con.execute("BEGIN IMMEDIATE")
            try:
                yield self._con
                self._con.execute("COMMIT")
            except BaseException:
                if self._con.in_transaction:
                    self._con.execute("ROLLBACK")
                raise

    def read(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._lock:
            return self._con.execute(sql, args).fetchall()

    def read_frames(self, queries: Sequence[str], *args: object) -> list[pd.DataFrame]:
        """The rows of several queries with the same arguments, all of one moment."""
        with self._lock:
            return [pd.read_sql_query(sql, self._con, params=args) for sql in queries]

    def erase_deleted(self) -> None:
        """Empty the write-ahead log, where deleted rows would live on; secure_delete overwrites them in the file."""
        with self._lock:
            self._con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

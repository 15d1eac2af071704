"""Opens the sessions file, checks or makes its tables, reads and writes in transactions.

A transaction that has returned is on the disk (WAL, synchronous=FULL). A file of version 1 is brought to version 2.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from explorer.store.errors import SessionFileError

VERSION = 2
_MARKS = ("application_id", "user_version")
_APPLICATION = 0x57686E63  # "Whnc": tells our files from other SQLite files


class Opened:
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
            # Exclusive: a second server on the same file is told so, instead of two that each believe they are alone.
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._con.execute(f"PRAGMA {pragma}")
            self._con.execute("PRAGMA secure_delete=ON")
            self._con.execute("BEGIN IMMEDIATE")
            try:
                self._check_or_create()
            finally:
                self._con.execute("COMMIT")
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
            self._run("sessions.sql", "sessions_2.sql")
        elif application != _APPLICATION:
            raise SessionFileError(f"{self.path} is another program's SQLite file: name another with --sessions PATH")
        elif version == 1:
            self._run("sessions_2.sql")
        elif version != VERSION:
            raise SessionFileError(f"{self.path} has version {version}, this explorer writes version {VERSION}")

    def _run(self, *names: str) -> None:
        """Statement by statement (executescript would end the transaction), then the marks of this version."""
        for name in names:
            text = Path(__file__).with_name(name).read_text(encoding="utf-8")
            for statement in "\n".join(line.split("--")[0] for line in text.splitlines()).split(";"):
                self._con.execute(statement)
        for mark, value in zip(_MARKS, (_APPLICATION, VERSION), strict=True):
            self._con.execute(f"PRAGMA {mark}={value}")

    def close(self) -> None:
        with self._lock:
            self._con.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction; what it wrote is on the disk when the block has been left without an error."""
        with self._lock:
            self._con.execute("BEGIN IMMEDIATE")
            try:
                yield self._con
                self._con.execute("COMMIT")
            except BaseException:
                if self._con.in_transaction:
                    self._con.execute("ROLLBACK")
                raise

    def _rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._con.execute(sql, args).fetchall()

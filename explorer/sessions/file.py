"""The one writable file of the explorer: sessions, listeners and their ratings, in SQLite.

What a call has returned from is on the disk (WAL, synchronous=FULL): neither a killed process nor a power cut takes it
back. One connection behind one lock writes and reads; a second process is refused. Deleted rows are overwritten.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from explorer.errors import SessionFileError
from explorer.sessions import queries
from explorer.sessions.queries import insert_lane, session_of
from explorer.sessions.records import (
    SCALE,
    Excerpt,
    Frames,
    Lane,
    LaneScore,
    Listener,
    Plan,
    RefusedError,
    Session,
    Trial,
)

VERSION = 1
_MARKS = ("application_id", "user_version")
_APPLICATION = 0x57686E63  # "Whnc": tells our files from other SQLite files
NICKNAME_CHARS, NOTE_CHARS = 40, 1000
LISTENERS = 500  # of one session: a link that got about must not fill the disk


class SessionFile:
    """Safe to share between threads. Raises SessionFileError on opening."""

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
            # Statement by statement: executescript would end the transaction.
            text = (Path(__file__).with_name("sessions.sql")).read_text(encoding="utf-8")
            for statement in "\n".join(line.split("--")[0] for line in text.splitlines()).split(";"):
                self._con.execute(statement)
            for name, value in zip(_MARKS, (_APPLICATION, VERSION), strict=True):
                self._con.execute(f"PRAGMA {name}={value}")
        elif application != _APPLICATION:
            raise SessionFileError(f"{self.path} is another program's SQLite file: name another with --sessions PATH")
        elif version != VERSION:
            raise SessionFileError(f"{self.path} has version {version}, this explorer writes version {VERSION}")

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

    # --- the host

    def add(self, plan: Plan) -> Session:
        """Writes a session with new tokens and a new code."""
        with self._write() as con:
            questions, settings = json.dumps(plan.questions), json.dumps(plan.settings)
            said = (plan.title, "open", plan.blind, questions, plan.consent, settings, plan.store_key)
            row = (secrets.token_urlsafe(12), *said, _now())
            columns = "code, title, state, blind, questions, consent, settings, store_key, created_at"
            session_id = con.execute(f"INSERT INTO sessions ({columns}) VALUES (?,?,?,?,?,?,?,?,?)", row).lastrowid
            for trial in plan.trials:
                values = (session_id, trial.clip_id, trial.prompt, trial.seconds, trial.channels)
                columns = "session_id, clip_id, prompt, seconds, channels"
                trial_id = con.execute(f"INSERT INTO trials ({columns}) VALUES (?,?,?,?,?)", values).lastrowid
                for lane in trial.lanes:
                    insert_lane(con, trial_id, lane)
        return self.session(int(session_id or 0))

    def sessions(self) -> list[Session]:
        """The newest first."""
        return [session_of(row) for row in self._rows(f"{queries.SESSION} ORDER BY session_id DESC")]

    def session(self, session_id: int) -> Session:
        """Raises RefusedError (404)."""
        return self._one_session("session_id", session_id)

    def by_code(self, code: str) -> Session:
        """Raises RefusedError (404)."""
        return self._one_session("code", code)

    def _one_session(self, column: str, value: object) -> Session:
        rows = self._rows(f"{queries.SESSION} WHERE {column} = ?", value)
        if not rows:
            raise RefusedError("there is no such session: ask the host for the link", 404)
        return session_of(rows[0])

    def set_state(self, session_id: int, state: str) -> Session:
        """Raises RefusedError where a revealed session would be opened again: its listeners know the answers."""
        now = self.session(session_id).state
        if state not in ("open", "closed", "revealed"):
            raise RefusedError("a session is open, closed or revealed")
        if now == "revealed" and state != now:
            raise RefusedError("this session is revealed: its listeners know the answers, make another", 409)
        with self._write() as con:
            con.execute("UPDATE sessions SET state = ? WHERE session_id = ?", (state, session_id))
        return self.session(session_id)

    def delete_session(self, session_id: int) -> None:
        with self._write() as con:
            con.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))
        self._forget()

    def delete_listener(self, session_id: int, listener_id: int) -> None:
        """The nickname, the answers and the notes of one listener, overwritten in the file."""
        with self._write() as con:
            con.execute("DELETE FROM listeners WHERE session_id = ? AND listener_id = ?", (session_id, listener_id))
        self._forget()

    def _forget(self) -> None:
        """Deleted rows must not live on in the log either."""
        with self._lock:
            self._con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def listeners(self, session_id: int) -> list[dict[str, Any]]:
        """listener_id, nickname, joined_at, rated (pairs with an answer), pairs; in the order of joining."""
        rows = self._rows(queries.LISTENERS, session_id)
        names = ("listener_id", "nickname", "joined_at", "rated", "pairs")
        return [{**dict(zip(names, row, strict=True)), "pairs": len(json.loads(row[4]))} for row in rows]

    # --- a listener

    def join(self, session: Session, nickname: str) -> str:
        """A new listener's token. Raises RefusedError: closed, a name that is taken or empty, too many."""
        name = " ".join(nickname.split())
        if not name or len(name) > NICKNAME_CHARS or not name.isprintable():
            raise RefusedError(f"a nickname has 1 to {NICKNAME_CHARS} letters")
        token = secrets.token_urlsafe(32)
        order = self._random_order(session.session_id)
        with self._write() as con:
            _refuse_unless_open(con, session.session_id)
            count = con.execute("SELECT count(*) FROM listeners WHERE session_id = ?", (session.session_id,))
            if count.fetchone()[0] >= LISTENERS:
                raise RefusedError("this session is full", 409)
            row = (session.session_id, name, _hash(token), json.dumps(order), _now())
            try:
                columns = "session_id, nickname, token_hash, pairs, joined_at"
                con.execute(f"INSERT INTO listeners ({columns}) VALUES (?,?,?,?,?)", row)
            except sqlite3.IntegrityError as error:
                raise RefusedError("somebody has that nickname already: choose another", 409) from error
        return token

    def _random_order(self, session_id: int) -> list[int]:
        """Lane ids: clips in random order, the tracks of each in random order."""
        dice = random.SystemRandom()
        by_trial: dict[int, list[int]] = {}
        for trial_id, lane_id in self._rows(queries.PAIRS, session_id):
            by_trial.setdefault(trial_id, []).append(lane_id)
        trials = list(by_trial.values())
        dice.shuffle(trials)
        for lanes in trials:
            dice.shuffle(lanes)
        return [lane_id for lanes in trials for lane_id in lanes]

    def listener(self, session_id: int, token: str) -> Listener | None:
        """Whose cookie this is; None for nobody of this session."""
        rows = self._rows(f"{queries.LISTENER} WHERE session_id = ? AND token_hash = ?", session_id, _hash(token))
        if not rows:
            return None
        listener_id, _, nickname, pairs = rows[0]
        return Listener(listener_id, session_id, nickname, tuple(json.loads(pairs)))

    def rate(self, listener: Listener, token: str, answers: Mapping[str, int | None], note: str | None) -> None:
        """Answers to some questions about one pair (None takes one back), and the note ("" takes it back).

        Raises RefusedError: no such pair or question, a value off the scale, ratings that are closed.
        """
        session = self.session(listener.session_id)
        if not set(answers) <= set(session.questions):
            raise RefusedError("this session does not ask that")
        if any(value is not None and (isinstance(value, bool) or value not in SCALE) for value in answers.values()):
            raise RefusedError(f"an answer is {SCALE[0]} to {SCALE[-1]}")
        if note is not None and len(note) > NOTE_CHARS:
            raise RefusedError(f"a note has at most {NOTE_CHARS} characters")
        with self._write() as con:
            _refuse_unless_open(con, session.session_id)
            found = con.execute("SELECT lane_id FROM lanes WHERE token = ?", (token,)).fetchone()
            if found is None or found[0] not in listener.pairs:
                raise RefusedError("this session has no such pair", 404)
            key = (listener.listener_id, found[0])
            if not con.execute("SELECT 1 FROM listeners WHERE listener_id = ?", key[:1]).fetchone():
                raise RefusedError("your data was deleted: join again", 401)
            for question, value in answers.items():
                if value is None:
                    con.execute(
                        "DELETE FROM ratings WHERE (listener_id, lane_id, question) = (?,?,?)", (*key, question)
                    )
                else:
                    con.execute("INSERT OR REPLACE INTO ratings VALUES (?,?,?,?,?)", (*key, question, value, _now()))
            if note is not None and note.strip():
                con.execute("INSERT OR REPLACE INTO notes VALUES (?,?,?)", (*key, note.strip()))
            elif note is not None:
                con.execute("DELETE FROM notes WHERE (listener_id, lane_id) = (?,?)", key)

    def answers(self, listener: Listener) -> tuple[dict[int, dict[str, int]], dict[int, str]]:
        """(lane id -> question -> value, lane id -> note) of one listener."""
        given: dict[int, dict[str, int]] = {}
        rows = self._rows("SELECT lane_id, question, value FROM ratings WHERE listener_id = ?", listener.listener_id)
        for lane_id, question, value in rows:
            given.setdefault(lane_id, {})[question] = value
        notes = self._rows("SELECT lane_id, note FROM notes WHERE listener_id = ?", listener.listener_id)
        return given, dict(notes)

    # --- what was made and what was rated

    def trials(self, session_id: int) -> list[Trial]:
        lanes: dict[int, list[Lane]] = {}
        scores: dict[int, list[LaneScore]] = {}
        for lane_id, method, label, raw, norm, q_value, above, place, chosen in self._rows(
            queries.LANE_SCORES, session_id
        ):
            score = LaneScore(method, label, raw, norm, q_value, bool(above), place, bool(chosen))
            scores.setdefault(lane_id, []).append(score)
        for trial_id, lane_id, token, *row in self._rows(queries.LANES, session_id):
            role, track_id, title, composer, start_s, gain_db = row
            own = tuple(scores.get(lane_id, ()))
            lane = Lane(role, track_id, title, composer, start_s, gain_db, own, lane_id, token)
            lanes.setdefault(trial_id, []).append(lane)
        return [
            Trial(clip_id, prompt, seconds, channels, tuple(lanes[trial_id]))
            for trial_id, clip_id, prompt, seconds, channels in self._rows(queries.TRIALS, session_id)
        ]

    def excerpt(self, session_id: int, token: str) -> Excerpt | None:
        rows = self._rows(queries.EXCERPT, session_id, token)
        return Excerpt(*rows[0]) if rows else None

    def frames(self, session_id: int) -> Frames:
        """All that was rated, for results and export. Raises RefusedError (404)."""
        session = self.session(session_id)
        with self._lock:
            lanes, scores, ratings, notes = (
                pd.read_sql_query(sql, self._con, params=(session_id,)) for sql in queries.FRAMES
            )
        lanes["track_id"] = lanes["track_id"].astype("Int64")
        scores["place"] = scores["place"].astype("Int64")
        flags = {"above_noise": bool, "chosen": bool}
        return Frames(session, lanes, scores.astype(flags), ratings, notes)


def _refuse_unless_open(con: sqlite3.Connection, session_id: int) -> None:
    """Within the transaction that writes: nothing is rated once a reveal was opened."""
    row = con.execute("SELECT state FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
    if row is None:
        raise RefusedError("there is no such session: ask the host for the link", 404)
    if row[0] != "open":
        raise RefusedError("the host has closed the ratings of this session", 409)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")

"""The one writable file of the explorer: sessions, listeners and their ratings, in SQLite.

What a call has returned from is on the disk (WAL, synchronous=FULL): neither a killed process nor a power cut takes it
back. One connection behind one lock writes and reads; a second process is refused. Deleted rows are overwritten.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import pandas as pd

from explorer.listening_sessions import queries
from explorer.listening_sessions.admission import Admission, refuse_unless_open
from explorer.listening_sessions.queries import insert_lane, session_of
from explorer.listening_sessions.records import (
    SCALE,
    Lane,
    LaneExcerpt,
    LaneScore,
    Listener,
    RatingFrames,
    Session,
    SessionPlan,
    SessionRefusedError,
    Trial,
    now,
)

NOTE_CHARS = 1000


class SessionFile(Admission):
    """Safe to share between threads. Raises SessionFileError on opening."""

    # --- the host

    def add(self, plan: SessionPlan) -> Session:
        """Writes a session with new tokens and a new code."""
        with self._write() as con:
            questions, settings = json.dumps(plan.questions), json.dumps(plan.settings)
            said = (plan.title, "open", plan.blind, questions, plan.consent, settings, plan.store_key)
            row = (secrets.token_urlsafe(12), *said, now())
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
        """Raises SessionRefusedError (404)."""
        return self._one_session("session_id", session_id)

    def by_code(self, code: str) -> Session:
        """Raises SessionRefusedError (404)."""
        return self._one_session("code", code)

    def _one_session(self, column: str, value: object) -> Session:
        rows = self._rows(f"{queries.SESSION} WHERE {column} = ?", value)
        if not rows:
            raise SessionRefusedError("there is no such session: ask the host for the link", 404)
        return session_of(rows[0])

    def set_state(self, session_id: int, state: str) -> Session:
        """Raises SessionRefusedError where a revealed session would be opened again: its listeners know the answers."""
        before = self.session(session_id).state
        if state not in ("open", "closed", "revealed"):
            raise SessionRefusedError("a session is open, closed or revealed")
        if before == "revealed" and state != before:
            raise SessionRefusedError("this session is revealed: its listeners know the answers, make another", 409)
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

    # --- a listener (who it is: admission.py)

    def rate(self, listener: Listener, token: str, answers: Mapping[str, int | None], note: str | None) -> None:
        """Answers to some questions about one pair (None takes one back), and the note ("" takes it back).

        Raises SessionRefusedError: no such pair or question, a value off the scale, ratings that are closed.
        """
        session = self.session(listener.session_id)
        if not set(answers) <= set(session.questions):
            raise SessionRefusedError("this session does not ask that")
        if any(value is not None and (isinstance(value, bool) or value not in SCALE) for value in answers.values()):
            raise SessionRefusedError(f"an answer is {SCALE[0]} to {SCALE[-1]}")
        if note is not None and len(note) > NOTE_CHARS:
            raise SessionRefusedError(f"a note has at most {NOTE_CHARS} characters")
        with self._write() as con:
            refuse_unless_open(con, session.session_id)
            found = con.execute("SELECT lane_id FROM lanes WHERE token = ?", (token,)).fetchone()
            if found is None or found[0] not in listener.pairs:
                raise SessionRefusedError("this session has no such pair", 404)
            key = (listener.listener_id, found[0])
            if not con.execute("SELECT 1 FROM listeners WHERE listener_id = ?", key[:1]).fetchone():
                raise SessionRefusedError("your data was deleted: join again", 401)
            for question, value in answers.items():
                if value is None:
                    con.execute(
                        "DELETE FROM ratings WHERE (listener_id, lane_id, question) = (?,?,?)", (*key, question)
                    )
                else:
                    con.execute("INSERT OR REPLACE INTO ratings VALUES (?,?,?,?,?)", (*key, question, value, now()))
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

    def excerpt(self, session_id: int, token: str) -> LaneExcerpt | None:
        rows = self._rows(queries.EXCERPT, session_id, token)
        return LaneExcerpt(*rows[0]) if rows else None

    def frames(self, session_id: int) -> RatingFrames:
        """All that was rated, for results and export. Raises SessionRefusedError (404)."""
        session = self.session(session_id)
        with self._lock:
            lanes, scores, ratings, notes = (
                pd.read_sql_query(sql, self._con, params=(session_id,)) for sql in queries.FRAMES
            )
        lanes["track_id"] = lanes["track_id"].astype("Int64")
        scores["place"] = scores["place"].astype("Int64")
        flags = {"above_noise": bool, "chosen": bool}
        return RatingFrames(session, lanes, scores.astype(flags), ratings, notes)

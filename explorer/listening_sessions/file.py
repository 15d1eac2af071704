"""The one writable file of the explorer: sessions, listeners and their ratings.

A browser holds a token (256 bits). A person writes down a resume code (60 bits): three groups of four of CODE_LETTERS,
read without regard to case, spaces and dashes. The file holds SHA-256 hashes of both, never the values.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explorer.listening_sessions import queries
from explorer.listening_sessions.database import SessionDatabase
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
NICKNAME_CHARS = 40
LISTENERS = 500  # of one session: a link that got about must not fill the disk
BROWSERS = 10  # of one listener, beside the one that joined; the oldest makes room
CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
CODE_GROUPS, CODE_GROUP = 3, 4
_READ_AS = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})


def draw_code() -> str:
    """A new resume code, 'XXXX-XXXX-XXXX', drawn at random."""
    groups = ("".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_GROUP)) for _ in range(CODE_GROUPS))
    return "-".join(groups)


def hash_token(token: str) -> bytes:
    """SHA-256 of a browser's token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _hash_code(code: str) -> bytes:
    return hash_token("".join(code.upper().split()).translate(_READ_AS))


class SessionFile:
    """Sessions, listeners and ratings. Safe to share between threads. Raises SessionFileError on opening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = SessionDatabase(path)

    def close(self) -> None:
        """Close the file; it is whole by itself then and can be copied."""
        self._database.close()

    # --- sessions

    def add_session(self, plan: SessionPlan) -> Session:
        """Write a session, with new tokens and a new code for its link."""
        with self._database.write() as con:
            questions, settings = json.dumps(plan.questions), json.dumps(plan.settings)
            planned = (plan.title, "open", plan.blind, questions, plan.consent, settings, plan.store_key)
            row = (secrets.token_urlsafe(12), *planned, now())
            columns = "code, title, state, blind, questions, consent, settings, store_key, created_at"
            session_id = con.execute(f"INSERT INTO sessions ({columns}) VALUES (?,?,?,?,?,?,?,?,?)", row).lastrowid
            for trial in plan.trials:
                values = (session_id, trial.clip_id, trial.prompt, trial.seconds, trial.channels)
                columns = "session_id, clip_id, prompt, seconds, channels"
                trial_id = con.execute(f"INSERT INTO trials ({columns}) VALUES (?,?,?,?,?)", values).lastrowid
                for lane in trial.lanes:
                    queries.insert_lane(con, trial_id, lane)
        return self.read_session(int(session_id or 0))

    def list_sessions(self) -> list[Session]:
        """All sessions, the newest first."""
        rows = self._database.read(f"{queries.SESSION} ORDER BY session_id DESC")
        return [queries.parse_session(row) for row in rows]

    def read_session(self, session_id: int) -> Session:
        """One session. Raises SessionRefusedError (404)."""
        return self._find_session("session_id", session_id)

    def find_session(self, code: str) -> Session:
        """The session whose link holds `code`. Raises SessionRefusedError (404)."""
        return self._find_session("code", code)

    def _find_session(self, column: str, value: object) -> Session:
        rows = self._database.read(f"{queries.SESSION} WHERE {column} = ?", value)
        if not rows:
            raise _no_such_session()
        return queries.parse_session(rows[0])

    def set_state(self, session_id: int, state: str) -> Session:
        """Open, close or reveal a session. Raises SessionRefusedError where a revealed one would be opened again."""
        before = self.read_session(session_id).state
        if state not in ("open", "closed", "revealed"):
            raise SessionRefusedError("a session is open, closed or revealed")
        if before == "revealed" and state != before:
            raise SessionRefusedError("this session is revealed: its listeners know the answers, make another", 409)
        with self._database.write() as con:
            con.execute("UPDATE sessions SET state = ? WHERE session_id = ?", (state, session_id))
        return self.read_session(session_id)

    def delete_session(self, session_id: int) -> None:
        """Delete a session with all listeners, answers and notes; the file overwrites them."""
        with self._database.write() as con:
            con.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))
        self._database.erase_deleted()

    # --- listeners

    def join(self, session: Session, nickname: str) -> tuple[str, str]:
        """Add a listener; returns (token, resume code).

        Raises SessionRefusedError: the session is closed or full, the nickname is taken or no nickname.
        """
        name = " ".join(nickname.split())
        if not name or len(name) > NICKNAME_CHARS or not name.isprintable():
            raise SessionRefusedError(f"a nickname has 1 to {NICKNAME_CHARS} letters")
        token, code = secrets.token_urlsafe(32), draw_code()
        order = self._shuffle_pairs(session.session_id)
        with self._database.write() as con:
            _require_open(con, session.session_id)
            count = con.execute("SELECT count(*) FROM listeners WHERE session_id = ?", (session.session_id,))
            if count.fetchone()[0] >= LISTENERS:
                raise SessionRefusedError("this session is full", 409)
            row = (session.session_id, name, hash_token(token), json.dumps(order), now(), _hash_code(code))
            try:
                columns = "session_id, nickname, token_hash, pairs, joined_at, resume_hash"
                con.execute(f"INSERT INTO listeners ({columns}) VALUES (?,?,?,?,?,?)", row)
            except sqlite3.IntegrityError as error:
                raise SessionRefusedError(
                    "somebody has that nickname already: choose another, or go on with your code if it is you", 409
                ) from error
        return token, code

    def _shuffle_pairs(self, session_id: int) -> list[int]:
        """Lane ids: clips in random order, the tracks of each in random order."""
        dice = random.SystemRandom()
        by_trial: dict[int, list[int]] = {}
        for trial_id, lane_id in self._database.read(queries.PAIRS, session_id):
            by_trial.setdefault(trial_id, []).append(lane_id)
        trials = list(by_trial.values())
        dice.shuffle(trials)
        for lanes in trials:
            dice.shuffle(lanes)
        return [lane_id for lanes in trials for lane_id in lanes]

    def resume(self, session: Session, code: str) -> str:
        """A token for one more browser of the listener with this resume code. Raises SessionRefusedError (403)."""
        token = secrets.token_urlsafe(32)
        with self._database.write() as con:
            key = (session.session_id, _hash_code(code))
            row = con.execute(
                "SELECT listener_id FROM listeners WHERE (session_id, resume_hash) = (?,?)", key
            ).fetchone()
            if row is None:
                raise SessionRefusedError("no listener of this session has that code", 403)
            con.execute("INSERT INTO browsers VALUES (?,?)", (hash_token(token), row[0]))
            con.execute(queries.OLD_BROWSERS, (row[0], row[0], BROWSERS))
        return token

    def renew_code(self, listener: Listener) -> str:
        """A new resume code; the one before opens nothing any more. Raises SessionRefusedError (401)."""
        code = draw_code()
        with self._database.write() as con:
            sql = "UPDATE listeners SET resume_hash = ? WHERE listener_id = ?"
            if not con.execute(sql, (_hash_code(code), listener.listener_id)).rowcount:
                raise _deleted_listener()
        return code

    def find_listener(self, session_id: int, token: str) -> Listener | None:
        """The listener whose browser holds `token`; None where the session has none."""
        rows = self._database.read(queries.LISTENER_OF, session_id, hash_token(token))
        if not rows:
            return None
        listener_id, _, nickname, pairs = rows[0]
        return Listener(listener_id, session_id, nickname, tuple(json.loads(pairs)))

    def list_listeners(self, session_id: int) -> list[dict[str, Any]]:
        """listener_id, nickname, joined_at, rated (pairs with an answer), pairs; in the order of joining."""
        rows = self._database.read(queries.LISTENERS, session_id)
        names = ("listener_id", "nickname", "joined_at", "rated", "pairs")
        return [{**dict(zip(names, row, strict=True)), "pairs": len(json.loads(row[4]))} for row in rows]

    def delete_listener(self, session_id: int, listener_id: int) -> None:
        """Delete the nickname, the answers and the notes of one listener; the file overwrites them."""
        with self._database.write() as con:
            con.execute("DELETE FROM listeners WHERE session_id = ? AND listener_id = ?", (session_id, listener_id))
        self._database.erase_deleted()

    # --- ratings

    def rate(self, listener: Listener, token: str, answers: Mapping[str, int | None], note: str | None) -> None:
        """Write answers to questions about one pair (None takes one back), and the note ("" takes it back).

        Raises SessionRefusedError: no such pair or question, a value off the scale, ratings that are closed.
        """
        self._check_rating(listener, answers, note)
        with self._database.write() as con:
            _require_open(con, listener.session_id)
            lane = con.execute("SELECT lane_id FROM lanes WHERE token = ?", (token,)).fetchone()
            if lane is None or lane[0] not in listener.pairs:
                raise SessionRefusedError("this session has no such pair", 404)
            key = (listener.listener_id, lane[0])
            if not con.execute("SELECT 1 FROM listeners WHERE listener_id = ?", key[:1]).fetchone():
                raise _deleted_listener()
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

    def _check_rating(self, listener: Listener, answers: Mapping[str, int | None], note: str | None) -> None:
        if not set(answers) <= set(self.read_session(listener.session_id).questions):
            raise SessionRefusedError("this session does not ask that")
        if any(value is not None and (isinstance(value, bool) or value not in SCALE) for value in answers.values()):
            raise SessionRefusedError(f"an answer is {SCALE[0]} to {SCALE[-1]}")
        if note is not None and len(note) > NOTE_CHARS:
            raise SessionRefusedError(f"a note has at most {NOTE_CHARS} characters")

    def read_answers(self, listener: Listener) -> tuple[dict[int, dict[str, int]], dict[int, str]]:
        """(lane id -> question -> value, lane id -> note) of one listener."""
        answers: dict[int, dict[str, int]] = {}
        sql = "SELECT lane_id, question, value FROM ratings WHERE listener_id = ?"
        for lane_id, question, value in self._database.read(sql, listener.listener_id):
            answers.setdefault(lane_id, {})[question] = value
        notes = self._database.read("SELECT lane_id, note FROM notes WHERE listener_id = ?", listener.listener_id)
        return answers, dict(notes)

    def read_ratings(self, session_id: int) -> RatingFrames:
        """All ratings of a session, for results and export. Raises SessionRefusedError (404)."""
        session = self.read_session(session_id)
        lanes, scores, ratings, notes = self._database.read_frames(queries.FRAMES, session_id)
        lanes["track_id"] = lanes["track_id"].astype("Int64")
        types: dict[str, Any] = {"above_noise": bool, "chosen": bool, "q_value": float}
        types |= dict.fromkeys(("place", "place_best", "place_worst"), "Int64")
        return RatingFrames(session, lanes, scores.astype(types), ratings, notes)

    # --- what is heard

    def read_trials(self, session_id: int) -> list[Trial]:
        """The trials of a session with their lanes and scores, in the order in which they were planned."""
        lanes: dict[int, list[Lane]] = {}
        scores: dict[int, list[LaneScore]] = {}
        for lane_id, method, label, raw, norm, q_value, above, place, chosen, *may in self._database.read(
            queries.LANE_SCORES, session_id
        ):
            score = LaneScore(method, label, raw, norm, q_value, bool(above), place, bool(chosen), *may)
            scores.setdefault(lane_id, []).append(score)
        for trial_id, lane_id, token, *row in self._database.read(queries.LANES, session_id):
            role, track_id, title, composer, start_s, gain_db = row
            own = tuple(scores.get(lane_id, ()))
            lane = Lane(role, track_id, title, composer, start_s, gain_db, own, lane_id, token)
            lanes.setdefault(trial_id, []).append(lane)
        return [
            Trial(clip_id, prompt, seconds, channels, tuple(lanes[trial_id]))
            for trial_id, clip_id, prompt, seconds, channels in self._database.read(queries.TRIALS, session_id)
        ]

    def find_excerpt(self, session_id: int, token: str) -> LaneExcerpt | None:
        """The excerpt that the lane with this token plays; None where the session has no such lane."""
        rows = self._database.read(queries.EXCERPT, session_id, token)
        return LaneExcerpt(*rows[0]) if rows else None


def _require_open(con: sqlite3.Connection, session_id: int) -> None:
    """Called within the transaction that writes: nothing is rated once the reveal was opened."""
    row = con.execute("SELECT state FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
    if row is None:
        raise _no_such_session()
    if row[0] != "open":
        raise SessionRefusedError("the host has closed the ratings of this session", 409)


def _no_such_session() -> SessionRefusedError:
    return SessionRefusedError("there is no such session: ask the host for the link", 404)


def _deleted_listener() -> SessionRefusedError:
    return SessionRefusedError("your data was deleted: join again", 401)

"""Who a browser is: joining, the cookie's token, and the resume code by which a listener goes on elsewhere.

A token (256 bits) stays in one browser. A resume code (60 bits) is written down by a person: three groups of four of
CODE_LETTERS, read without regard to case, spaces and dashes. The file holds SHA-256 hashes of both.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import sqlite3

from explorer.listening_sessions import queries
from explorer.listening_sessions.opened import Opened
from explorer.listening_sessions.records import Listener, Session, SessionRefusedError, now

NICKNAME_CHARS = 40
LISTENERS = 500  # of one session: a link that got about must not fill the disk
BROWSERS = 10  # of one listener, beside the one that joined; the oldest makes room
CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
CODE_GROUPS, CODE_GROUP = 3, 4
_READ_AS = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})


def new_code() -> str:
    """A resume code, 'XXXX-XXXX-XXXX'; drawn at random, it says nothing of anything."""
    groups = ("".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_GROUP)) for _ in range(CODE_GROUPS))
    return "-".join(groups)


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _code_hash(code: str) -> bytes:
    return hash_of("".join(code.upper().split()).translate(_READ_AS))


def refuse_unless_open(con: sqlite3.Connection, session_id: int) -> None:
    """Within the transaction that writes: nothing is rated once a reveal was opened."""
    row = con.execute("SELECT state FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
    if row is None:
        raise SessionRefusedError("there is no such session: ask the host for the link", 404)
    if row[0] != "open":
        raise SessionRefusedError("the host has closed the ratings of this session", 409)


class Admission(Opened):
    def join(self, session: Session, nickname: str) -> tuple[str, str]:
        """A new listener's (token, resume code). Raises SessionRefusedError: closed, name taken or empty, too many."""
        name = " ".join(nickname.split())
        if not name or len(name) > NICKNAME_CHARS or not name.isprintable():
            raise SessionRefusedError(f"a nickname has 1 to {NICKNAME_CHARS} letters")
        token, code = secrets.token_urlsafe(32), new_code()
        order = self._random_order(session.session_id)
        with self._write() as con:
            refuse_unless_open(con, session.session_id)
            count = con.execute("SELECT count(*) FROM listeners WHERE session_id = ?", (session.session_id,))
            if count.fetchone()[0] >= LISTENERS:
                raise SessionRefusedError("this session is full", 409)
            row = (session.session_id, name, hash_of(token), json.dumps(order), now(), _code_hash(code))
            try:
                columns = "session_id, nickname, token_hash, pairs, joined_at, resume_hash"
                con.execute(f"INSERT INTO listeners ({columns}) VALUES (?,?,?,?,?,?)", row)
            except sqlite3.IntegrityError as error:
                raise SessionRefusedError(
                    "somebody has that nickname already: choose another, or go on with your code if it is you", 409
                ) from error
        return token, code

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

    def resume(self, session: Session, code: str) -> str:
        """A token for one more browser of the listener with this resume code. Raises SessionRefusedError (403)."""
        token = secrets.token_urlsafe(32)
        with self._write() as con:
            key = (session.session_id, _code_hash(code))
            row = con.execute(
                "SELECT listener_id FROM listeners WHERE (session_id, resume_hash) = (?,?)", key
            ).fetchone()
            if row is None:
                raise SessionRefusedError("no listener of this session has that code", 403)
            con.execute("INSERT INTO browsers VALUES (?,?)", (hash_of(token), row[0]))
            con.execute(queries.OLD_BROWSERS, (row[0], row[0], BROWSERS))
        return token

    def change_code(self, listener: Listener) -> str:
        """A new resume code; the one before opens nothing any more. Raises SessionRefusedError (401)."""
        code = new_code()
        with self._write() as con:
            sql = "UPDATE listeners SET resume_hash = ? WHERE listener_id = ?"
            if not con.execute(sql, (_code_hash(code), listener.listener_id)).rowcount:
                raise SessionRefusedError("your data was deleted: join again", 401)
        return code

    def listener(self, session_id: int, token: str) -> Listener | None:
        """Whose cookie this is; None for nobody of this session."""
        rows = self._rows(queries.LISTENER_OF, session_id, hash_of(token))
        if not rows:
            return None
        listener_id, _, nickname, pairs = rows[0]
        return Listener(listener_id, session_id, nickname, tuple(json.loads(pairs)))

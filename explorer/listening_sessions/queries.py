"""SQL of the sessions file that is longer than a line, and the conversion between rows and records."""

from __future__ import annotations

import json
import secrets
import sqlite3
from typing import Any

from explorer.listening_sessions.records import Lane, Session

SESSION = (
    "SELECT session_id, code, title, state, blind, questions, consent, settings, store_key, created_at FROM sessions"
)
LISTENER_OF = """
SELECT listener_id, session_id, nickname, pairs FROM listeners l WHERE session_id = ?1
AND (token_hash = ?2 OR EXISTS (SELECT 1 FROM browsers b WHERE b.token_hash = ?2 AND b.listener_id = l.listener_id))
"""
OLD_BROWSERS = """
DELETE FROM browsers WHERE listener_id = ? AND rowid NOT IN
(SELECT rowid FROM browsers WHERE listener_id = ? ORDER BY rowid DESC LIMIT ?)
"""
LISTENERS = """
SELECT listener_id, nickname, joined_at,
    (SELECT count(DISTINCT lane_id) FROM ratings r WHERE r.listener_id = l.listener_id), pairs
FROM listeners l WHERE session_id = ? ORDER BY listener_id
"""
PAIRS = "SELECT trial_id, lane_id FROM lanes JOIN trials USING (trial_id) WHERE session_id = ? AND role <> 'clip'"
TRIALS = "SELECT trial_id, clip_id, prompt, seconds, channels FROM trials WHERE session_id = ? ORDER BY trial_id"
LANES = """
SELECT trial_id, lane_id, token, role, track_id, l.title, composer, start_s, gain_db
FROM lanes l JOIN trials USING (trial_id) WHERE session_id = ? ORDER BY lane_id
"""
LANE_SCORES = """
SELECT lane_id, method, label, score, score_norm, q_value, above_noise, place, chosen, place_best, place_worst
FROM lane_scores s JOIN lanes USING (lane_id) JOIN trials USING (trial_id) WHERE session_id = ?
ORDER BY lane_id, s.rowid
"""
EXCERPT = """
SELECT session_id, store_key, clip_id, track_id, start_s, seconds, gain_db, channels
FROM lanes JOIN trials USING (trial_id) JOIN sessions USING (session_id) WHERE session_id = ? AND token = ?
"""
FRAMES = (
    "SELECT lane_id, clip_id, prompt, role, track_id, l.title, composer, start_s FROM lanes l"
    " JOIN trials USING (trial_id)"
    " WHERE session_id = ? AND role <> 'clip' ORDER BY lane_id",
    "SELECT lane_id, method, label, score, score_norm, q_value, above_noise, place, chosen, place_best, place_worst"
    " FROM lane_scores s"
    " JOIN lanes USING (lane_id) JOIN trials USING (trial_id) WHERE session_id = ? ORDER BY lane_id, s.rowid",
    "SELECT listener_id, nickname, lane_id, question, value, rated_at FROM ratings JOIN listeners USING (listener_id)"
    " WHERE session_id = ? ORDER BY lane_id, listener_id, question",
    "SELECT listener_id, nickname, lane_id, note FROM notes JOIN listeners USING (listener_id)"
    " WHERE session_id = ? ORDER BY lane_id, listener_id",
)


def insert_lane(con: sqlite3.Connection, trial_id: int | None, lane: Lane) -> None:
    """Insert a lane with a new token, and its scores by every method."""
    row = (trial_id, secrets.token_urlsafe(12), lane.role, lane.track_id, lane.title, lane.composer)
    columns = "trial_id, token, role, track_id, title, composer, start_s, gain_db"
    values = (*row, lane.start_s, lane.gain_db)
    lane_id = con.execute(f"INSERT INTO lanes ({columns}) VALUES (?,?,?,?,?,?,?,?)", values).lastrowid
    for item in lane.scores:
        numbers = (item.score, item.score_norm, item.q_value, item.above_noise, item.place, item.chosen)
        scored = (lane_id, item.method, item.label, *numbers, item.place_best, item.place_worst)
        con.execute(f"INSERT INTO lane_scores VALUES ({', '.join('?' * len(scored))})", scored)


def parse_session(row: tuple[Any, ...]) -> Session:
    """The record of a row that SESSION selected."""
    session_id, code, title, state, blind, questions, consent, settings, store_key, created_at = row
    names = tuple(json.loads(questions))
    chosen = json.loads(settings)
    return Session(session_id, code, title, state, bool(blind), names, consent, chosen, store_key, created_at)

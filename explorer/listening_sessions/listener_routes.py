"""Routes of listeners: /session/<code> and below.

Blind is blind: until the host reveals, an answer holds tokens, questions and the listener's own answers, nothing of a
lane's title, id, rank or score, and every sound of a trial has the same size and the same headers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from explorer.listening_sessions import excerpts
from explorer.listening_sessions.file import NICKNAME_CHARS, NOTE_CHARS, SessionFile
from explorer.listening_sessions.http import name_cookie, read_json, read_text, respond, send_page, set_cookie
from explorer.listening_sessions.records import (
    QUESTIONS,
    Lane,
    LaneScore,
    Listener,
    Session,
    SessionRefusedError,
    Trial,
)
from explorer.store import Store
from explorer.text.numbers import format_places
from explorer.web.guard import Attempts, Clock

COOKIE_S = 180 * 24 * 3600
RESUME_CHARS = 100  # at most, of what is typed as a resume code
# Open to a listener of a blind session: its own pages, scripts, the sign-in, the host's key.
_OPEN = ("/session", "/static/", "/favicon.ico", "/signin", "/signout", "/host")
_BLIND_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Whence</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    "<p>You are taking part in a blind listening session. This page names tracks and scores, so it opens for you when "
    "the host has closed the ratings.</p></html>"
)
_ROLE_TEXTS = {
    "top": "among the strongest by {}",
    "random": "a training track drawn at random",
    "decoy": "a decoy, which the model never heard",
    "duplicate": "among the strongest by {}, a second time",
    "match": "the clip itself",
}


def add_listeners(app: FastAPI, store: Store, file: SessionFile, clock: Clock = time.monotonic) -> None:
    """Add a listener's page and all that it asks for. `clock` counts attempts at a resume code."""
    attempts = Attempts(clock)

    def find_sender(request: Request, code: str) -> tuple[Session, Listener | None]:
        session = file.find_session(code)
        token = request.cookies.get(_name_cookie(request, code), "")
        return session, file.find_listener(session.session_id, token) if token else None

    def require_listener(request: Request, code: str) -> tuple[Session, Listener]:
        session, listener = find_sender(request, code)
        if listener is None:
            raise SessionRefusedError("join the session first", 401)
        return session, listener

    @app.get("/session/{code}")
    def listen(code: str) -> Response:
        return send_page("listen.html")

    @app.get("/session/{code}/state")
    def state(code: str, request: Request) -> Response:
        session, listener = find_sender(request, code)
        count = sum(len(trial.pairs) for trial in file.read_trials(session.session_id))
        own = _list_pairs(file, session, listener) if listener else {}
        return respond({**_describe_session(session), "count": count, **own})

    @app.post("/session/{code}/join")
    async def join(code: str, request: Request) -> Response:
        fields = await read_json(request)
        if fields.get("agreed") is not True:
            raise SessionRefusedError("without your agreement nothing can be kept: tick the box")
        nickname = read_text(fields, "nickname", 4 * NICKNAME_CHARS)
        session = await run_in_threadpool(file.find_session, code)
        token, own_code = await run_in_threadpool(file.join, session, nickname)
        response = respond({"joined": True, "resume": own_code})
        set_cookie(response, request, _name_cookie(request, code), token, COOKIE_S)
        return response

    @app.post("/session/{code}/resume")
    async def resume(code: str, request: Request) -> Response:
        """Wrong codes count as wrong passwords do, over all sessions."""
        own_code = read_text(await read_json(request), "resume", RESUME_CHARS)
        session = await run_in_threadpool(file.find_session, code)
        address = request.client.host if request.client else ""
        wait_s = attempts.take(address)
        if wait_s:
            raise SessionRefusedError(f"too many attempts: try again in {wait_s:.0f} s", 429)
        token = await run_in_threadpool(file.resume, session, own_code)
        attempts.forgive(address)
        response = respond({"joined": True})
        set_cookie(response, request, _name_cookie(request, code), token, COOKIE_S)
        return response

    @app.post("/session/{code}/code")
    def change_code(code: str, request: Request) -> Response:
        _, listener = require_listener(request, code)
        return respond({"resume": file.renew_code(listener)})

    @app.post("/session/{code}/rate")
    async def rate(code: str, request: Request) -> Response:
        fields = await read_json(request)
        answers = fields.get("answers", {})
        if not isinstance(answers, dict):
            raise SessionRefusedError("answers must be an object of question and value")
        note = read_text(fields, "note", 2 * NOTE_CHARS) if "note" in fields else None
        _, listener = await run_in_threadpool(require_listener, request, code)
        await run_in_threadpool(file.rate, listener, read_text(fields, "lane", 100), answers, note)
        return respond({"saved": True})

    @app.post("/session/{code}/leave")
    def leave(code: str, request: Request) -> Response:
        _, listener = require_listener(request, code)
        file.delete_listener(listener.session_id, listener.listener_id)
        response = respond({"deleted": True})
        response.delete_cookie(_name_cookie(request, code), path="/", httponly=True, samesite="lax")
        return response

    @app.get("/session/{code}/audio/{token}")
    def sound(code: str, token: str, request: Request) -> Response:
        session, _ = require_listener(request, code)
        excerpt = file.find_excerpt(session.session_id, token)
        if excerpt is None:
            raise SessionRefusedError("this session has no such sound", 404)
        data = excerpts.render_excerpt(store, excerpt, token)
        return Response(data, media_type="audio/wav", headers={"Cache-Control": "private, max-age=86400"})

    @app.get("/session/{code}/reveal")
    def reveal(code: str, request: Request) -> Response:
        session, listener = require_listener(request, code)
        if session.blind and session.state != "revealed":
            raise SessionRefusedError("the host has not opened the reveal yet", 403)
        return respond({"trials": _reveal_trials(file, session, listener)})


def _name_cookie(request: Request, code: str) -> str:
    """The name of this session's cookie: one a session, so that joining a second does not lose the first."""
    return f"{name_cookie(request, 'listener')}_{code[:16]}"


def _describe_session(session: Session) -> dict[str, Any]:
    questions = [dict(zip(("text", "low", "high"), QUESTIONS[name], strict=True)) for name in session.questions]
    return {
        "title": session.title,
        "state": session.state,
        "blind": session.blind,
        "consent": session.consent,
        "questions": [{"name": name, **texts} for name, texts in zip(session.questions, questions, strict=True)],
        "note_chars": NOTE_CHARS,
    }


def _list_pairs(file: SessionFile, session: Session, listener: Listener) -> dict[str, Any]:
    """The nickname, and the pairs in this listener's order with the answers so far."""
    answers, notes = file.read_answers(listener)
    trial_of = {lane.lane_id: (trial, lane) for trial in file.read_trials(session.session_id) for lane in trial.pairs}
    pairs = []
    for lane_id in listener.pairs:
        trial, lane = trial_of[lane_id]
        pair = {"clip": trial.clip.token, "lane": lane.token, "seconds": trial.seconds}
        pair |= {"answers": answers.get(lane_id, {}), "note": notes.get(lane_id, "")}
        if not session.blind:
            pair["shown"] = {"prompt": trial.prompt, **_describe_lane(lane)}
        pairs.append(pair)
    return {"nickname": listener.nickname, "pairs": pairs}


def _describe_lane(lane: Lane) -> dict[str, Any]:
    """Title, role and scores of a lane: sent only where the session is not blind, or revealed."""
    scores = [
        {
            "label": score.label,
            "score_norm": score.score_norm,
            "place": _word_place(score),
            "above_noise": score.above_noise,
            "tested": score.q_value is not None,
            "q_value": score.q_value,
        }
        for score in lane.scores
    ]
    return {
        "title": lane.title,
        "composer": lane.composer,
        "what": _ROLE_TEXTS[lane.role].format(" and ".join(score.label for score in lane.scores if score.chosen)),
        "start_s": lane.start_s,
        "role": lane.role,
        "scores": scores,
    }


def _word_place(score: LaneScore) -> str | None:
    """'1–3'; None for a decoy."""
    if score.place is None or score.place_best is None or score.place_worst is None:
        return None if score.place is None else f"{score.place:,}"
    return format_places(score.place_best, score.place_worst)


def _reveal_trials(file: SessionFile, session: Session, listener: Listener) -> list[dict[str, Any]]:
    """Trials in this listener's order, pairs by mean rating: title and role, own answer, everybody's mean."""
    ratings = file.read_ratings(session.session_id).ratings
    question = session.questions[0]
    asked_first: pd.DataFrame = ratings[ratings["question"] == question]
    means = asked_first.groupby("lane_id")["value"].agg(["mean", "count"])
    answers, _ = file.read_answers(listener)
    place = {lane_id: i for i, lane_id in enumerate(listener.pairs)}

    def describe_rated(lane: Lane) -> dict[str, Any]:
        everybody = None
        if lane.lane_id in means.index:
            mean, count = means.loc[lane.lane_id, ["mean", "count"]]
            everybody = {"mean": float(mean), "count": int(count)}
        mine = answers.get(lane.lane_id, {}).get(question)
        return {**_describe_lane(lane), "lane": lane.token, "mine": mine, "everybody": everybody}

    def first_place(trial: Trial) -> int:
        return min(place[lane.lane_id] for lane in trial.pairs)

    trials = sorted(file.read_trials(session.session_id), key=first_place)
    revealed = []
    for trial in trials:
        rows = [describe_rated(lane) for lane in trial.pairs]
        rows.sort(key=lambda item: -(item["everybody"] or {"mean": 0.0})["mean"])
        revealed.append({"prompt": trial.prompt, "question": question, "pairs": rows})
    return revealed


class BlindGuard:
    """Refuses the explorer's pages to a listener whose blind session still takes ratings, unless it is the host."""

    def __init__(self, app: ASGIApp, file: SessionFile, is_host: Callable[[Request], bool]) -> None:
        self.app = app
        self.file = file
        self.is_host = is_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to a listener held off; pass every other request on."""
        if scope["type"] == "http" and not scope["path"].startswith(_OPEN):
            request = Request(scope, receive)
            prefix = name_cookie(request, "listener") + "_"
            cookies = {name: token for name, token in request.cookies.items() if name.startswith(prefix)}
            if cookies and not self.is_host(request) and await run_in_threadpool(self._takes_part, cookies, prefix):
                await HTMLResponse(_BLIND_PAGE, status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _takes_part(self, cookies: dict[str, str], prefix: str) -> bool:
        for name, token in cookies.items():
            try:
                session = self.file.find_session(name.removeprefix(prefix))
            except SessionRefusedError:
                continue
            if session.blind and session.state == "open" and self.file.find_listener(session.session_id, token):
                return True
        return False

"""A listener's page and what it asks for: /session/<code>.

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
from explorer.listening_sessions.admission import NICKNAME_CHARS
from explorer.listening_sessions.file import NOTE_CHARS, SessionFile
from explorer.listening_sessions.http import answer, asked, cookie_name, page, set_cookie, text_of
from explorer.listening_sessions.records import QUESTIONS, Lane, Listener, Session, SessionRefusedError, Trial
from explorer.store.database import Store
from explorer.web.guard import Attempts, Clock

COOKIE_S = 180 * 24 * 3600
RESUME_CHARS = 100  # at most, of what is typed as a resume code
# Open to a listener of a blind session: its own pages, scripts, the sign-in, the host's key.
_OPEN = ("/session", "/static/", "/favicon.ico", "/signin", "/signout", "/host")
_HELD_OFF = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Whence</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    "<p>You are taking part in a blind listening session. This page names tracks and scores, so it opens for you when "
    "the host has closed the ratings.</p></html>"
)
_WHAT = {
    "top": "among the strongest by {}",
    "random": "a training track drawn at random",
    "decoy": "a decoy, which the model never heard",
    "duplicate": "among the strongest by {}, a second time",
    "match": "the clip itself",
}


def add_listeners(app: FastAPI, store: Store, file: SessionFile, clock: Clock = time.monotonic) -> None:
    attempts = Attempts(clock)

    def who(request: Request, code: str) -> tuple[Session, Listener | None]:
        session = file.by_code(code)
        token = request.cookies.get(_cookie(request, code), "")
        return session, file.listener(session.session_id, token) if token else None

    def known(request: Request, code: str) -> tuple[Session, Listener]:
        session, listener = who(request, code)
        if listener is None:
            raise SessionRefusedError("join the session first", 401)
        return session, listener

    @app.get("/session/{code}")
    def listen(code: str) -> Response:
        return page("listen.html")

    @app.get("/session/{code}/state")
    def state(code: str, request: Request) -> Response:
        session, listener = who(request, code)
        count = sum(len(trial.pairs) for trial in file.trials(session.session_id))
        own = _own(file, session, listener) if listener else {}
        return answer({**_about(session), "count": count, **own})

    @app.post("/session/{code}/join")
    async def join(code: str, request: Request) -> Response:
        found = await asked(request)
        if found.get("agreed") is not True:
            raise SessionRefusedError("without your agreement nothing can be kept: tick the box")
        nickname = text_of(found, "nickname", 4 * NICKNAME_CHARS)
        session = await run_in_threadpool(file.by_code, code)
        token, own_code = await run_in_threadpool(file.join, session, nickname)
        response = answer({"joined": True, "resume": own_code})
        set_cookie(response, request, _cookie(request, code), token, COOKIE_S)
        return response

    @app.post("/session/{code}/resume")
    async def resume(code: str, request: Request) -> Response:
        """Wrong codes count as wrong passwords do, over all sessions."""
        own_code = text_of(await asked(request), "resume", RESUME_CHARS)
        session = await run_in_threadpool(file.by_code, code)
        address = request.client.host if request.client else ""
        wait_s = attempts.take(address)
        if wait_s:
            raise SessionRefusedError(f"too many attempts: try again in {wait_s:.0f} s", 429)
        token = await run_in_threadpool(file.resume, session, own_code)
        attempts.forgive(address)
        response = answer({"joined": True})
        set_cookie(response, request, _cookie(request, code), token, COOKIE_S)
        return response

    @app.post("/session/{code}/code")
    def change_code(code: str, request: Request) -> Response:
        _, listener = known(request, code)
        return answer({"resume": file.change_code(listener)})

    @app.post("/session/{code}/rate")
    async def rate(code: str, request: Request) -> Response:
        found = await asked(request)
        answers = found.get("answers", {})
        if not isinstance(answers, dict):
            raise SessionRefusedError("answers must be an object of question and value")
        note = text_of(found, "note", 2 * NOTE_CHARS) if "note" in found else None
        _, listener = await run_in_threadpool(known, request, code)
        await run_in_threadpool(file.rate, listener, text_of(found, "lane", 100), answers, note)
        return answer({"saved": True})

    @app.post("/session/{code}/leave")
    def leave(code: str, request: Request) -> Response:
        _, listener = known(request, code)
        file.delete_listener(listener.session_id, listener.listener_id)
        response = answer({"deleted": True})
        response.delete_cookie(_cookie(request, code), path="/", httponly=True, samesite="lax")
        return response

    @app.get("/session/{code}/audio/{token}")
    def sound(code: str, token: str, request: Request) -> Response:
        session, _ = known(request, code)
        excerpt = file.excerpt(session.session_id, token)
        if excerpt is None:
            raise SessionRefusedError("this session has no such sound", 404)
        data = excerpts.render(store, excerpt, token)
        return Response(data, media_type="audio/wav", headers={"Cache-Control": "private, max-age=86400"})

    @app.get("/session/{code}/reveal")
    def reveal(code: str, request: Request) -> Response:
        session, listener = known(request, code)
        if session.blind and session.state != "revealed":
            raise SessionRefusedError("the host has not opened the reveal yet", 403)
        return answer({"trials": _revealed(file, session, listener)})


def _cookie(request: Request, code: str) -> str:
    """One for each session: joining a second must not lose the first."""
    return f"{cookie_name(request, 'listener')}_{code[:16]}"


def _about(session: Session) -> dict[str, Any]:
    questions = [dict(zip(("text", "low", "high"), QUESTIONS[name], strict=True)) for name in session.questions]
    return {
        "title": session.title,
        "state": session.state,
        "blind": session.blind,
        "consent": session.consent,
        "questions": [{"name": name, **texts} for name, texts in zip(session.questions, questions, strict=True)],
        "note_chars": NOTE_CHARS,
    }


def _own(file: SessionFile, session: Session, listener: Listener) -> dict[str, Any]:
    """The pairs in this listener's order with the answers so far."""
    given, notes = file.answers(listener)
    trial_of = {lane.lane_id: (trial, lane) for trial in file.trials(session.session_id) for lane in trial.pairs}
    pairs = []
    for lane_id in listener.pairs:
        trial, lane = trial_of[lane_id]
        pair = {"clip": trial.clip.token, "lane": lane.token, "seconds": trial.seconds}
        pair |= {"answers": given.get(lane_id, {}), "note": notes.get(lane_id, "")}
        if not session.blind:
            pair["shown"] = {"prompt": trial.prompt, **_named(lane)}
        pairs.append(pair)
    return {"nickname": listener.nickname, "pairs": pairs}


def _named(lane: Lane) -> dict[str, Any]:
    """What a lane is: only where the session is open, or revealed."""
    scores = [
        {
            "label": score.label,
            "score_norm": score.score_norm,
            "place": score.place,
            "above_noise": score.above_noise,
            "q_value": score.q_value,
        }
        for score in lane.scores
    ]
    return {
        "title": lane.title,
        "composer": lane.composer,
        "what": _WHAT[lane.role].format(" and ".join(score.label for score in lane.scores if score.chosen)),
        "start_s": lane.start_s,
        "role": lane.role,
        "scores": scores,
    }


def _revealed(file: SessionFile, session: Session, listener: Listener) -> list[dict[str, Any]]:
    """Trials in this listener's order, pairs by mean rating: what each was, own answers, everybody's mean."""
    ratings = file.frames(session.session_id).ratings
    question = session.questions[0]
    asked_first: pd.DataFrame = ratings[ratings["question"] == question]
    means = asked_first.groupby("lane_id")["value"].agg(["mean", "count"])
    given, _ = file.answers(listener)
    place = {lane_id: i for i, lane_id in enumerate(listener.pairs)}

    def row(lane: Lane) -> dict[str, Any]:
        everybody = None
        if lane.lane_id in means.index:
            mean, count = means.loc[lane.lane_id, ["mean", "count"]]
            everybody = {"mean": float(mean), "count": int(count)}
        mine = given.get(lane.lane_id, {}).get(question)
        return {**_named(lane), "lane": lane.token, "mine": mine, "everybody": everybody}

    def first(trial: Trial) -> int:
        return min(place[lane.lane_id] for lane in trial.pairs)

    trials = sorted(file.trials(session.session_id), key=first)
    found = []
    for trial in trials:
        rows = [row(lane) for lane in trial.pairs]
        rows.sort(key=lambda item: -(item["everybody"] or {"mean": 0.0})["mean"])
        found.append({"prompt": trial.prompt, "question": question, "pairs": rows})
    return found


class BlindGuard:
    """Keeps the explorer from the browser of a listener whose blind session still takes ratings; not from a host's."""

    def __init__(self, app: ASGIApp, file: SessionFile, is_host: Callable[[Request], bool]) -> None:
        self.app = app
        self.file = file
        self.is_host = is_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(_OPEN):
            request = Request(scope, receive)
            prefix = cookie_name(request, "listener") + "_"
            cookies = {name: token for name, token in request.cookies.items() if name.startswith(prefix)}
            if cookies and not self.is_host(request) and await run_in_threadpool(self._takes_part, cookies, prefix):
                await HTMLResponse(_HELD_OFF, status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _takes_part(self, cookies: dict[str, str], prefix: str) -> bool:
        for name, token in cookies.items():
            try:
                session = self.file.by_code(name.removeprefix(prefix))
            except SessionRefusedError:
                continue
            if session.blind and session.state == "open" and self.file.listener(session.session_id, token):
                return True
        return False

"""The host's page and what it asks for: /host, behind the host's key.

The key is not the page's password: listeners may have that one. Wrong keys count as wrong passwords do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from explorer.listen.page import clip_label
from explorer.listening_sessions import excerpts, export, pictures, plan, results
from explorer.listening_sessions.file import SessionFile
from explorer.listening_sessions.http import answer, asked, cookie_name, page, set_cookie, text_of
from explorer.listening_sessions.records import CONSENT, QUESTIONS, Session, SessionRefusedError
from explorer.settings import PASSWORD_BYTES, Password
from explorer.state.callbacks import Callbacks
from explorer.web.guard import HASHES_AT_ONCE, SESSION_S, Attempts, Sessions

_DISPOSITION = 'attachment; filename="session-{}.{}"'


class HostAccess:
    """Who has shown the host's key."""

    def __init__(self, key: Password, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._sessions = Sessions(clock)
        self._attempts = Attempts(clock)
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)

    def __call__(self, request: Request) -> bool:
        return self._sessions.holds(request.cookies.get(cookie_name(request, "host"), ""))

    def demand(self, request: Request) -> None:
        """Raises SessionRefusedError (401)."""
        if not self(request):
            raise SessionRefusedError("this page is the host's: give the host's key first", 401)

    async def enter(self, request: Request, key: str) -> Response:
        """Raises SessionRefusedError: a wrong key, or too many of them."""
        address = request.client.host if request.client else ""
        wait_s = self._attempts.take(address)
        if wait_s:
            raise SessionRefusedError(f"too many attempts: try again in {wait_s:.0f} s", 429)
        async with self._hashing:
            right = await run_in_threadpool(self._key.check, key)
        if not right:
            raise SessionRefusedError("that is not the host's key: it was printed when the explorer started", 403)
        self._attempts.forgive(address)
        response = answer({"host": True})
        set_cookie(response, request, cookie_name(request, "host"), self._sessions.open(), SESSION_S)
        return response

    def leave(self, request: Request) -> Response:
        self._sessions.close(request.cookies.get(cookie_name(request, "host"), ""))
        response = answer({"host": False})
        response.delete_cookie(cookie_name(request, "host"), path="/", httponly=True, samesite="lax")
        return response


def add_host(app: FastAPI, callbacks: Callbacks, file: SessionFile, hosts: HostAccess) -> None:
    here = excerpts.store_key(callbacks.store)

    @app.get("/host")
    def host() -> Response:
        return page("host.html")

    @app.post("/host/enter")
    async def enter(request: Request) -> Response:
        return await hosts.enter(request, text_of(await asked(request), "key", PASSWORD_BYTES))

    @app.post("/host/leave")
    def leave(request: Request) -> Response:
        return hosts.leave(request)

    @app.get("/host/state")
    def state(request: Request) -> Response:
        hosts.demand(request)
        sessions = [_listed(session, file, here) for session in file.sessions()]
        return answer({"offer": _offer(callbacks), "sessions": sessions})

    @app.post("/host/sessions")
    async def create(request: Request) -> Response:
        hosts.demand(request)
        found = await asked(request)
        for name in ("title", "consent"):
            text_of(found, name, plan.CONSENT_CHARS)
        wanted = plan.SessionRequest.of(found, callbacks)
        made = await run_in_threadpool(plan.make, callbacks, wanted)
        session = await run_in_threadpool(file.add, made)
        return answer(_listed(session, file, here))

    @app.get("/host/sessions/{session_id}")
    def one(session_id: int, request: Request, reliable: bool = False) -> Response:
        hosts.demand(request)
        session = file.session(session_id)
        found = results.results(file.frames(session_id), reliable)
        return answer({**_listed(session, file, here), "settings": session.settings, "results": found})

    @app.get("/host/sessions/{session_id}/pictures/{name}.svg")
    def picture(session_id: int, name: str, request: Request, reliable: bool = False) -> Response:
        hosts.demand(request)
        if name not in pictures.DRAWN:
            raise SessionRefusedError("there is no such picture", 404)
        found = results.results(file.frames(session_id), reliable)
        return Response(pictures.DRAWN[name](found), media_type="image/svg+xml", headers={"Cache-Control": "no-store"})

    @app.get("/host/sessions/{session_id}/export.{kind}")
    def hand_out(session_id: int, kind: str, request: Request) -> Response:
        hosts.demand(request)
        if kind not in export.KINDS:
            raise SessionRefusedError("ratings are handed out as csv or parquet", 404)
        write, media_type = export.KINDS[kind]
        headers = {"Cache-Control": "no-store", "Content-Disposition": _DISPOSITION.format(session_id, kind)}
        return Response(write(export.table(file.frames(session_id))), media_type=media_type, headers=headers)

    @app.post("/host/sessions/{session_id}/state")
    async def set_state(session_id: int, request: Request) -> Response:
        hosts.demand(request)
        wanted = text_of(await asked(request), "state", 20)
        session = await run_in_threadpool(file.set_state, session_id, wanted)
        return answer(_listed(session, file, here))

    @app.post("/host/sessions/{session_id}/delete")
    def delete(session_id: int, request: Request) -> Response:
        hosts.demand(request)
        file.delete_session(session_id)
        return answer({"deleted": True})

    @app.post("/host/sessions/{session_id}/listeners/{listener_id}/delete")
    def delete_listener(session_id: int, listener_id: int, request: Request) -> Response:
        hosts.demand(request)
        file.delete_listener(session_id, listener_id)
        return answer({"deleted": True})


def _offer(callbacks: Callbacks) -> dict[str, Any]:
    """What a new session can be made of."""
    return {
        "clips": [{"clip_id": clip.clip_id, "label": clip_label(clip)} for clip in plan.offered(callbacks)],
        "methods": [{"name": method.name, "label": method.label} for method in callbacks.methods],
        "questions": [{"name": name, "text": texts[0]} for name, texts in QUESTIONS.items()],
        "seconds": plan.usual_seconds(callbacks),
        "consent": CONSENT,
    }


def _listed(session: Session, file: SessionFile, here: str) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "code": session.code,
        "title": session.title,
        "state": session.state,
        "blind": session.blind,
        "created_at": session.created_at,
        "playable": session.store_key == here,  # False: made over another store than the one that is served
        "left_out": session.settings.get("left_out", []),
        "listeners": file.listeners(session.session_id),
    }

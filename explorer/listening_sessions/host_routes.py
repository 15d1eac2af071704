"""Routes of the host: /host and below, behind the host's key.

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

from explorer.listening_sessions import excerpts, export, pictures, plan, results
from explorer.listening_sessions.file import SessionFile
from explorer.listening_sessions.http import NO_STORE, name_cookie, read_json, read_text, respond, send_page, set_cookie
from explorer.listening_sessions.records import CONSENT, QUESTIONS, Session, SessionRefusedError
from explorer.settings import PASSWORD_BYTES, Password
from explorer.state.store_views import StoreViews
from explorer.text.clips import label_clip
from explorer.web.guard import HASHES_AT_ONCE, SESSION_S, Attempts, Sessions

_DISPOSITION = 'attachment; filename="session-{}.{}"'


class HostAccess:
    """Checks the host's key, and remembers which browsers have shown it."""

    def __init__(self, key: Password, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._sessions = Sessions(clock)
        self._attempts = Attempts(clock)
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)

    def is_host(self, request: Request) -> bool:
        """True where the browser has shown the key."""
        return self._sessions.holds(request.cookies.get(name_cookie(request, "host"), ""))

    def demand(self, request: Request) -> None:
        """Raises SessionRefusedError (401) where the browser has not shown the key."""
        if not self.is_host(request):
            raise SessionRefusedError("this page is the host's: give the host's key first", 401)

    async def enter(self, request: Request, key: str) -> Response:
        """Admit the browser. Raises SessionRefusedError: a wrong key, or too many attempts."""
        address = request.client.host if request.client else ""
        wait_s = self._attempts.take(address)
        if wait_s:
            raise SessionRefusedError(f"too many attempts: try again in {wait_s:.0f} s", 429)
        async with self._hashing:
            right = await run_in_threadpool(self._key.check, key)
        if not right:
            raise SessionRefusedError("that is not the host's key: it was printed when the explorer started", 403)
        self._attempts.forgive(address)
        response = respond({"host": True})
        set_cookie(response, request, name_cookie(request, "host"), self._sessions.open(), SESSION_S)
        return response

    def leave(self, request: Request) -> Response:
        """Forget the browser."""
        self._sessions.close(request.cookies.get(name_cookie(request, "host"), ""))
        response = respond({"host": False})
        response.delete_cookie(name_cookie(request, "host"), path="/", httponly=True, samesite="lax")
        return response


def add_host(app: FastAPI, views: StoreViews, file: SessionFile, access: HostAccess) -> None:
    """Add the host's page and all that it asks for."""
    key_of_store = excerpts.identify_store(views.store)

    @app.get("/host")
    def host() -> Response:
        return send_page("host.html")

    @app.post("/host/enter")
    async def enter(request: Request) -> Response:
        return await access.enter(request, read_text(await read_json(request), "key", PASSWORD_BYTES))

    @app.post("/host/leave")
    def leave(request: Request) -> Response:
        return access.leave(request)

    @app.get("/host/state")
    def state(request: Request) -> Response:
        access.demand(request)
        sessions = [_describe_session(session, file, key_of_store) for session in file.list_sessions()]
        return respond({"offer": _describe_offer(views), "sessions": sessions})

    @app.post("/host/sessions")
    async def create(request: Request) -> Response:
        access.demand(request)
        fields = await read_json(request)
        for name in ("title", "consent"):
            read_text(fields, name, plan.CONSENT_CHARS)
        session_request = plan.SessionRequest.parse(fields, views)
        planned = await run_in_threadpool(plan.plan_session, views, session_request)
        session = await run_in_threadpool(file.add_session, planned)
        return respond(_describe_session(session, file, key_of_store))

    @app.get("/host/sessions/{session_id}")
    def one(session_id: int, request: Request, reliable: bool = False) -> Response:
        access.demand(request)
        session = file.read_session(session_id)
        summary = results.summarise_ratings(file.read_ratings(session_id), reliable)
        return respond(
            {**_describe_session(session, file, key_of_store), "settings": session.settings, "results": summary}
        )

    @app.get("/host/sessions/{session_id}/pictures/{name}.svg")
    def picture(session_id: int, name: str, request: Request, reliable: bool = False) -> Response:
        access.demand(request)
        if name not in pictures.DRAWN:
            raise SessionRefusedError("there is no such picture", 404)
        summary = results.summarise_ratings(file.read_ratings(session_id), reliable)
        return Response(
            pictures.DRAWN[name](summary), media_type="image/svg+xml", headers={"Cache-Control": "no-store"}
        )

    @app.get("/host/sessions/{session_id}/export.{kind}")
    def export_ratings(session_id: int, kind: str, request: Request) -> Response:
        access.demand(request)
        if kind not in export.KINDS:
            raise SessionRefusedError("ratings are handed out as csv or parquet", 404)
        write, media_type = export.KINDS[kind]
        headers = {**NO_STORE, "Content-Disposition": _DISPOSITION.format(session_id, kind)}
        data = write(export.build_table(file.read_ratings(session_id)))
        return Response(data, media_type=media_type, headers=headers)

    @app.post("/host/sessions/{session_id}/state")
    async def set_state(session_id: int, request: Request) -> Response:
        access.demand(request)
        new_state = read_text(await read_json(request), "state", 20)
        session = await run_in_threadpool(file.set_state, session_id, new_state)
        return respond(_describe_session(session, file, key_of_store))

    @app.post("/host/sessions/{session_id}/delete")
    def delete(session_id: int, request: Request) -> Response:
        access.demand(request)
        file.delete_session(session_id)
        return respond({"deleted": True})

    @app.post("/host/sessions/{session_id}/listeners/{listener_id}/delete")
    def delete_listener(session_id: int, listener_id: int, request: Request) -> Response:
        access.demand(request)
        file.delete_listener(session_id, listener_id)
        return respond({"deleted": True})


def _describe_offer(views: StoreViews) -> dict[str, Any]:
    """The choices of the form for a new session."""
    return {
        "clips": [{"clip_id": clip.clip_id, "label": label_clip(clip)} for clip in plan.list_offered_clips(views)],
        "methods": [{"name": method.name, "label": method.label} for method in views.methods],
        "questions": [{"name": name, "text": texts[0]} for name, texts in QUESTIONS.items()],
        "seconds": plan.suggest_seconds(views),
        "consent": CONSENT,
    }


def _describe_session(session: Session, file: SessionFile, key_of_store: str) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "code": session.code,
        "title": session.title,
        "state": session.state,
        "blind": session.blind,
        "created_at": session.created_at,
        "playable": session.store_key == key_of_store,  # False: made over another store than the one that is served
        "left_out": session.settings.get("left_out", []),
        "listeners": file.list_listeners(session.session_id),
    }

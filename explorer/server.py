"""The web server: audio by id, the components' scripts and the page itself, all behind the guard of guard.py.

Gradio's own settings are closed here: no uploads, no API pages, no error texts to the browser, no analytics.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from explorer.app import PAGE_CSS, build_app, build_theme
from explorer.listening_sessions.routes import add_sessions
from explorer.report.routes import add_reports
from explorer.settings import Settings
from explorer.state.store_views import StoreViews
from explorer.store import Store
from explorer.store.errors import StoreDamagedError
from explorer.text.scores import DAMAGED
from explorer.web import media
from explorer.web.guard import Guard, read_body
from explorer.web.jobs import Jobs, build_command
from explorer.web.uploads import add_uploads

log = logging.getLogger("explorer")

EVENT_BYTES = 1_000_000  # of one event; the page's own stay under 10 kB


class FileRefuser:
    """Refuses events that name a file. The page has no use for one, and Gradio would copy it, or fetch its address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http" or scope["path"] != "/gradio_api/queue/join":
            await self.app(scope, receive, send)
            return
        body = await read_body(Request(scope, receive), EVENT_BYTES)
        refusal = (413, "that is too long for an event") if body is None else _find_event_fault(body)
        if refusal:
            await JSONResponse({"detail": refusal[1]}, status_code=refusal[0])(scope, receive, send)
            return
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self.app(scope, replay, send)


def _find_event_fault(body: bytes) -> tuple[int, str] | None:
    """Status and reason where `body` is no JSON, or an object in it has the key by which Gradio knows a file."""
    keys: set[str] = set()

    def note(pairs: list[tuple[str, Any]]) -> None:  # sees repeated keys too, of which a parser keeps only one
        keys.update(key for key, _ in pairs)

    try:
        json.loads(body, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return 400, "that is no event"
    return (400, "this page takes no files") if "path" in keys else None


def _answer_damage(_: Request, error: Exception) -> Response:
    """What a route cannot read of a damaged store is no fault of the server; its log names the file."""
    log.error("%s", error)
    return JSONResponse({"detail": DAMAGED}, status_code=503, headers={"Cache-Control": "no-store"})


def create_server(settings: Settings) -> Guard:
    """The whole application over one open store. Raises the StoreError family."""
    store = Store(settings.store, settings.threads, settings.memory_limit)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(FileRefuser)
    app.add_exception_handler(StoreDamagedError, _answer_damage)
    media.add_sounds(app, store)
    media.add_static(app)
    views = StoreViews(store)
    add_sessions(app, views, settings)
    add_reports(app, views)
    if settings.attribute is not None:
        app.state.jobs = Jobs(build_command(settings.attribute, store.path), views.reopen)
        add_uploads(app, app.state.jobs)
    blocks = build_app(views, settings.password is not None, settings.attribute is not None)
    blocks.has_launched = True  # else Gradio skips its check of file paths: it makes it for launch() only
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        theme=build_theme(),
        css=PAGE_CSS,
        footer_links=[],
        show_error=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        max_file_size="1kb",
    )
    return Guard(app, settings)

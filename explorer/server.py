"""The web server: one guard over everything, audio by id, the components' scripts, and the page itself.

Gradio's own settings are closed here: no uploads, no API pages, no error texts to the browser, no analytics.
"""

from __future__ import annotations

import logging
import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from explorer import audio
from explorer.app import PAGE_CSS, build_app, theme
from explorer.callbacks import BadEventError, Callbacks, parse_id
from explorer.components import FOLDER
from explorer.settings import Settings
from explorer.store import Store

log = logging.getLogger("explorer")

# 'unsafe-inline' and 'unsafe-eval' are what Gradio's front end needs; no other host is ever reached.
CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'self'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# Doors that the page does not use: uploads, API pages, Gradio's own login, its proxy and its deep links.
_CLOSED = (
    *("/gradio_api/upload", "/gradio_api/component_server", "/gradio_api/proxy", "/gradio_api/deep_link"),
    *("/gradio_api/openapi", "/gradio_api/info", "/openapi.json", "/monitoring", "/login", "/svelte"),
)
_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="7" fill="#0f766e"/>'
    '<path d="M7 13v6m6-11v16m6-13v10m6-7v4" stroke="#fff" stroke-width="3" stroke-linecap="round"/></svg>'
)


class Guard:
    """The outermost ASGI layer: closes routes that Gradio leaves open and adds HEADERS to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        if scope["path"].startswith(_CLOSED):
            await JSONResponse({"detail": "closed"}, status_code=403)(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)


def create_server(settings: Settings) -> Guard:
    """The whole application over one open store. Raises the StoreError family."""
    store = Store(settings.store, settings.threads, settings.memory_limit)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_audio(app, store)
    _add_static(app)
    blocks = build_app(Callbacks(store))
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        theme=theme(),
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
    return Guard(app)


def _add_audio(app: FastAPI, store: Store) -> None:
    @app.api_route("/audio/{rest:path}", methods=["GET", "HEAD"])
    def sound(rest: str, request: Request) -> Response:
        kind, _, item_id = rest.partition("/")
        try:
            if kind not in ("track", "clip"):
                raise BadEventError("there is no such sound")
            return audio.respond(store, kind, parse_id(item_id), request.headers.get("range"))
        except BadEventError as error:
            return JSONResponse({"detail": str(error)}, status_code=404)
        except audio.AudioError as error:
            if "outside" in str(error):
                log.warning("refused %s %s: %s", kind, item_id, error)
            return JSONResponse({"detail": str(error)}, status_code=error.status)


def _add_static(app: FastAPI) -> None:
    scripts = {path.name: path for path in FOLDER.glob("*.js")}

    @app.get("/static/whence/{name}")
    def script(name: str) -> Response:
        if name not in scripts:
            return JSONResponse({"detail": "there is no such file"}, status_code=404)
        headers = {"Cache-Control": "no-cache"}  # ask again: a new release must not meet an old script
        return FileResponse(scripts[name], media_type="text/javascript", headers=headers)

    @app.get("/favicon.ico")
    def favicon() -> Response:
        return Response(_FAVICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

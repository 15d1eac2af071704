"""Routes of the page's own: sounds and their spectrograms by id, the components' scripts, fonts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from explorer.components import FOLDER
from explorer.sound.permission import SoundRefusedError
from explorer.sound.responses import respond_audio, respond_spectrogram
from explorer.state.view import BadEventError, parse_id
from explorer.store import Store

log = logging.getLogger("explorer")

FONTS = Path(__file__).parents[1] / "fonts"
_TYPES = {".js": "text/javascript", ".woff2": "font/woff2"}
_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="7" fill="#0f766e"/>'
    '<path d="M7 13v6m6-11v16m6-13v10m6-7v4" stroke="#fff" stroke-width="3" stroke-linecap="round"/></svg>'
)


def add_sounds(app: FastAPI, store: Store) -> None:
    """/audio/<kind>/<id> and /spectrogram/<kind>/<id>, kind 'track' or 'clip'."""

    def answer(rest: str, respond: Callable[[str, int], Response]) -> Response:
        kind, _, item_id = rest.partition("/")
        try:
            if kind not in ("track", "clip"):
                raise BadEventError("there is no such sound")
            return respond(kind, parse_id(item_id))
        except BadEventError as error:
            return JSONResponse({"detail": str(error)}, status_code=404)
        except SoundRefusedError as error:
            if "outside" in str(error):
                log.warning("refused %s %s: %s", kind, item_id, error)
            return JSONResponse({"detail": str(error)}, status_code=error.status)

    @app.api_route("/audio/{rest:path}", methods=["GET", "HEAD"])
    def sound(rest: str, request: Request) -> Response:
        return answer(rest, lambda kind, item: respond_audio(store, kind, item, request.headers.get("range")))

    @app.get("/spectrogram/{rest:path}")
    def spectrogram(rest: str) -> Response:
        return answer(rest, lambda kind, item: respond_spectrogram(store, kind, item))


def add_static(app: FastAPI) -> None:
    """Scripts and fonts by name, and the favicon."""
    files = {path.name: path for path in (*FOLDER.glob("*.js"), *FONTS.glob("*.woff2"))}

    @app.get("/static/whence/{name}")
    def static(name: str) -> Response:
        if name not in files:
            return JSONResponse({"detail": "there is no such file"}, status_code=404)
        # Ask again: a new release must not meet an old script. A font does not change.
        cache = "no-cache" if name.endswith(".js") else "max-age=604800"
        path = files[name]
        return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": cache})

    @app.get("/favicon.ico")
    def favicon() -> Response:
        return Response(_FAVICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

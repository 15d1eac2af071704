"""HTTP of listening sessions, for listeners and the host alike: request bodies, refusals, cookies, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from explorer.components import FOLDER as COMPONENTS
from explorer.listening_sessions.records import SessionRefusedError
from explorer.sound.permission import SoundRefusedError
from explorer.web.guard import read_body

PAGES = Path(__file__).parent / "pages"
NO_STORE = {"Cache-Control": "no-store"}
OFF = "listening sessions are off here: start the explorer with --sessions PATH"
_BODY_BYTES = 20_000
_TYPES = {".js": "text/javascript", ".css": "text/css"}


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises SessionRefusedError."""
    body = await read_body(request, _BODY_BYTES)
    if body is None:
        raise SessionRefusedError("that is too long", 413)
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SessionRefusedError("that is no JSON") from error
    if not isinstance(fields, dict):
        raise SessionRefusedError("that is no JSON object")
    return fields


def read_text(fields: dict[str, Any], name: str, most: int) -> str:
    """The text `name` of a request's JSON object, "" where it has none. Raises SessionRefusedError."""
    text = fields.get(name, "")
    if not isinstance(text, str) or len(text) > most:
        raise SessionRefusedError(f"{name} must be a text of at most {most} characters")
    if text.encode("utf-8", "ignore").decode("utf-8") != text or "\x00" in text:
        raise SessionRefusedError(f"{name} holds something that is no character")
    return text


def respond(value: Any) -> Response:
    """`value` as JSON that no browser stores."""
    return JSONResponse(value, headers=NO_STORE)


def send_page(name: str) -> Response:
    """An HTML page of this folder; its script asks for the content."""
    return FileResponse(PAGES / name, media_type="text/html", headers={"Cache-Control": "no-cache"})


def name_cookie(request: Request, kind: str) -> str:
    """The name of a cookie of this kind.

    It holds the port: cookies ignore ports, and two explorers on one machine must not read each other's.
    """
    return f"whence_{kind}_{request.url.port or 'session'}"


def set_cookie(response: Response, request: Request, name: str, token: str, seconds: int) -> None:
    """Give the browser a token for `seconds`, out of reach of scripts and of other sites."""
    secure = request.url.scheme == "https"
    response.set_cookie(name, token, seconds, path="/", secure=secure, httponly=True, samesite="lax")


def add_shared(app: FastAPI) -> None:
    """Add refusals as JSON {detail}, and the pages' scripts and styles under /static/session."""

    def refuse(_: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, (SessionRefusedError, SoundRefusedError)) else 400
        return JSONResponse({"detail": str(error)}, status_code=status, headers=NO_STORE)

    app.add_exception_handler(SessionRefusedError, refuse)
    app.add_exception_handler(SoundRefusedError, refuse)
    files = {path.name: path for path in (*PAGES.glob("*.js"), *PAGES.glob("*.css"), COMPONENTS / "player.css")}
    files["theme.css"] = COMPONENTS / "theme.css"

    @app.get("/static/session/{name}")
    def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "there is no such file")
        kind = _TYPES[files[name].suffix]
        return FileResponse(files[name], media_type=kind, headers={"Cache-Control": "no-cache"})


def add_closed(app: FastAPI) -> None:
    """Without a sessions file: every address of sessions answers how to get one."""

    @app.api_route("/session/{rest:path}", methods=["GET", "HEAD", "POST"])
    @app.api_route("/host", methods=["GET", "HEAD", "POST"])
    @app.api_route("/host/{rest:path}", methods=["GET", "HEAD", "POST"])
    def closed() -> Response:
        return JSONResponse({"detail": OFF}, status_code=404, headers=NO_STORE)

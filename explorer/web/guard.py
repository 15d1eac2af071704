"""The outermost ASGI layer: headers on every response, closed doors, the sign-in, and no server path in any error.

It stands before the pages, the audio and Gradio's own routes alike. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import logging
import math
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from string import Template
from urllib.parse import parse_qs, quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from explorer.settings import Settings, is_loopback

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
    "Referrer-Policy": "same-origin",  # under no-referrer, browsers send our own forms with "Origin: null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_NO_STORE = {"Cache-Control": "no-store"}

# Of Gradio's API the page needs these; every other door under it is closed, those of later releases too.
_API = "/gradio_api"
_API_OPEN = re.compile(_API + r"/(queue/join|queue/data|heartbeat/\w+|app_id)")
# Gradio's own login, developer and installation pages, by their first segment.
_CLOSED = frozenset("login logout svelte monitoring openapi.json pwa_icon manifest.json robots.txt".split())

SIGN_IN, SIGN_OUT = "/signin", "/signout"
_PAGE = Template((Path(__file__).parent / "signin.html").read_text(encoding="utf-8"))
BODY_BYTES = 4096  # of a sign-in form
NEXT_CHARS = 1000  # of the address to go on to
# One "/" then printable ASCII without backslash: browsers read "//" and "/\" as another host, and skip tabs.
_NEXT = re.compile(r"/(?!/)[!-\[\]-~]*")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]*)(?::(\d{1,5}))?")
_MALFORMED = re.compile(r"//|\\|[\x00-\x1f\x7f]|/\.\.?(?:/|$)")  # what a browser or a router may read in two ways

SESSION_S = 12 * 3600
SESSIONS = 1000  # signed in at the same time; the oldest makes room
WINDOW_S = 60.0  # failed attempts count this long
PER_ADDRESS, IN_ALL = 5, 30  # failed attempts in that time
HASHES_AT_ONCE = 2  # each takes 32 MB and some 50 ms of one core

Clock = Callable[[], float]


class Sessions:
    """The sessions of those who signed in. Tokens are kept as hashes, so that a memory dump opens nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: dict[bytes, float] = {}  # in the order of opening, so in that of ending

    def open(self) -> str:
        """A new token, good for SESSION_S."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        self._ends = {key: end for key, end in self._ends.items() if end > now}
        while len(self._ends) >= SESSIONS:
            del self._ends[next(iter(self._ends))]
        self._ends[_hash_token(token)] = now + SESSION_S
        return token

    def holds(self, token: str) -> bool:
        """True while this token is good."""
        return self._ends.get(_hash_token(token), -math.inf) > self._clock()

    def close(self, token: str) -> None:
        """Sign this token out."""
        self._ends.pop(_hash_token(token), None)


def _hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Attempts:
    """Failed sign-ins of the last WINDOW_S. Never more than IN_ALL are kept, which bounds the memory too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: deque[tuple[float, str]] = deque()

    def take(self, address: str) -> float:
        """Seconds that `address` must wait; 0: it may try now, and the try counts as failed until `forgive`."""
        now = self._clock()
        while self._failed and self._failed[0][0] <= now - WINDOW_S:
            self._failed.popleft()
        every, own = [at for at, _ in self._failed], [at for at, who in self._failed if who == address]
        full = [times[0] for times, most in ((every, IN_ALL), (own, PER_ADDRESS)) if len(times) >= most]
        if full:
            return max(full) + WINDOW_S - now
        self._failed.append((now, address))
        return 0.0

    def forgive(self, address: str) -> None:
        """Take back the latest try of `address`, which was right. Others count: many may share an address."""
        self._failed.remove(next(entry for entry in reversed(self._failed) if entry[1] == address))


class Guard:
    """Wraps the whole application; `settings` says which host it answers to and whether a password is asked for."""

    def __init__(self, app: ASGIApp, settings: Settings, clock: Clock = time.monotonic) -> None:
        self.app = app
        self.sessions = Sessions(clock)
        self.attempts = Attempts(clock)
        self._password = settings.password
        self._local = is_loopback(settings.host)
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on with headers added to the answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        if scope["type"] != "http":  # the page needs no websocket
            denial = "websocket.http.response" in scope.get("extensions", {})
            await (_detail(403, "closed") if denial else WebSocketClose())(scope, receive, send)
            return
        started = failed = False

        async def watch(message: Message) -> None:
            """Holds back every 500: what the application says about a fault may name a path."""
            nonlocal started, failed
            if message["type"] == "http.response.start":
                failed = message["status"] == 500
                started = not failed
            if not failed:
                await send(message)

        try:
            own = await self._answer(Request(scope, receive))
            await (self.app if own is None else own)(scope, receive, watch)
        except ClientDisconnect:
            return
        except Exception:
            if started:
                raise  # the server logs it and cuts the connection: too late for an answer
            failed = True
            log.exception("the application raised")
        if failed:
            log.error("failed: %s %s", scope["method"], quote(scope["path"]))
            await _detail(500, "something failed here; the server's log says what")(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        """Answer this request where the guard does so itself; None where the application may answer it."""
        path = request.scope["path"]
        host = request.headers.get("host", "")
        if not self._known_host(request, host):
            return _detail(421, "this server answers to localhost and 127.0.0.1 only")
        if _MALFORMED.search(path):
            return _detail(404, "there is no such page")
        if request.method not in ("GET", "HEAD") and _foreign(request, host):
            return _detail(403, "this came from another site; a proxy in front must keep the Host header")
        if path in (SIGN_IN, SIGN_OUT):
            return await self._sign(request)
        if path != "/favicon.ico" and not self._signed_in(request):
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                query = request.scope["query_string"].decode("latin-1")
                asked = _check_next(quote(path) + (f"?{query}" if query else ""))
                return _redirect(_sign_in_address(asked))
            return _detail(401, "sign in first", _NO_STORE)
        return _detail(403, "closed") if _closed(path) else None

    def _known_host(self, request: Request, host: str) -> bool:
        """Against DNS rebinding, where a page elsewhere lets its own name point at this machine.

        Behind a proxy on this machine (https, and a password) the public name is right: a session holds for the
        name it was opened under.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        proxied = self._password is not None and request.scope["scheme"] == "https"
        return not self._local or proxied or is_loopback(match[1].lower())

    def _signed_in(self, request: Request) -> bool:
        return self._password is None or self.sessions.holds(request.cookies.get(_name_cookie(request), ""))

    async def _sign(self, request: Request) -> Response:
        """GET shows the form (or, when signed in, a button to sign out); POST signs in or out."""
        onward = _check_next(request.query_params.get("next", ""))
        if self._password is None:
            return _redirect(onward)
        if request.method in ("GET", "HEAD"):
            return _render_page(onward, signed_in=self._signed_in(request))
        if request.method != "POST":
            return _detail(405, "use GET or POST", {"Allow": "GET, HEAD, POST"})
        cookie, secure = _name_cookie(request), request.scope["scheme"] == "https"
        if request.scope["path"] == SIGN_OUT:
            self.sessions.close(request.cookies.get(cookie, ""))
            answer = _redirect(SIGN_IN)
            answer.delete_cookie(cookie, path="/", secure=secure, httponly=True, samesite="lax")
            return answer
        body = await read_body(request, BODY_BYTES)
        if body is None:
            return _render_page(onward, "That is too long for a password.", 413)
        address = request.client.host if request.client else ""
        wait_s = math.ceil(self.attempts.take(address))
        if wait_s:
            answer = _render_page(onward, f"Too many attempts. Try again in {wait_s} s.", 429)
            answer.headers["Retry-After"] = str(wait_s)
            return answer
        given = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        async with self._hashing:
            right = await run_in_threadpool(self._password.check, given)
        if not right:
            log.warning("wrong password from %s", address)
            return _render_page(onward, "That is not the password. Try again.", 401)
        self.attempts.forgive(address)
        self.sessions.close(request.cookies.get(cookie, ""))
        answer = _redirect(onward)
        token = self.sessions.open()
        # Lax, not Strict: a link in an e-mail must open without a second sign-in.
        answer.set_cookie(cookie, token, SESSION_S, path="/", secure=secure, httponly=True, samesite="lax")
        return answer


def _with_headers(send: Send) -> Send:
    async def send_guarded(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name in [name for name in headers if name.startswith("access-control-")]:
                del headers[name]  # Gradio would let other origins read
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return send_guarded


def _closed(path: str) -> bool:
    lower = path.lower()
    if lower.startswith(_API):
        return _API_OPEN.fullmatch(path) is None
    return lower.split("/")[1] in _CLOSED


def _foreign(request: Request, host: str) -> bool:
    """True where a browser says that a page of another origin sent this."""
    origin = request.headers.get("origin")
    return origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}")


def _name_cookie(request: Request) -> str:
    """Name the cookie by the port: cookies ignore ports, and explorers on one machine must not sign each other out."""
    match = _HOST.fullmatch(request.headers.get("host", ""))
    return f"whence_{(match and match[2]) or 'session'}"


def _check_next(text: str) -> str:
    """`text` where it is a path and query of this server, else "/"."""
    fits = len(text) <= NEXT_CHARS and _NEXT.fullmatch(text) and not text.startswith((SIGN_IN, SIGN_OUT))
    return text if fits else "/"


def _sign_in_address(onward: str) -> str:
    return SIGN_IN if onward == "/" else f"{SIGN_IN}?{urlencode({'next': onward})}"


async def read_body(request: Request, limit: int) -> bytes | None:
    """The body as sent; None as soon as it is longer than `limit` bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return body


def _detail(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": text}, status_code=status, headers=headers)


def _redirect(address: str) -> Response:
    return RedirectResponse(address, status_code=303, headers=_NO_STORE)


def _render_page(onward: str, error: str = "", status: int = 200, signed_in: bool = False) -> Response:
    text = _PAGE.substitute(
        signin="hidden" if signed_in else "",
        signout="" if signed_in else "hidden",
        action=html.escape(_sign_in_address(onward)),
        onward=html.escape(onward),
        error=html.escape(error),
        invalid="true" if error else "false",
    )
    return HTMLResponse(text, status_code=status, headers=_NO_STORE)

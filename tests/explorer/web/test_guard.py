"""The guard: headers everywhere, closed doors, known names only, events without files, no path in any error."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from anyio.from_thread import start_blocking_portal

from explorer.settings import Password, Settings
from explorer.web.guard import HEADERS, Guard

REPOSITORY = Path(__file__).resolve().parents[3]
OPEN = {"queue/join", "queue/data", "heartbeat/{session_hash}", "app_id"}  # Gradio's doors that the page uses


@pytest.fixture(scope="module")
def locked(server, store_path):
    """The real application behind a guard that asks for a password."""
    return Guard(server.app, Settings(store_path, password=Password.of("correct horse")))


def visit(server):
    from starlette.testclient import TestClient

    return TestClient(server, base_url="http://127.0.0.1", follow_redirects=False)


def guarded(answer, status):
    assert answer.status_code == status, answer.text
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert str(REPOSITORY) not in answer.text and "/tmp" not in answer.text and "Traceback" not in answer.text
    return answer


def test_headers_on_every_kind_of_answer(client, locked):
    for path, status in (("/", 200), ("/config", 200), ("/favicon.ico", 200), ("/static/whence/curve.js", 200)):
        guarded(client.get(path), status)
    for path, status in (("/nowhere", 404), ("/audio/track/999", 404), ("/gradio_api/upload", 403), ("/a//b", 404)):
        guarded(client.get(path), status)
    guarded(client.get("/audio/track/12", headers={"Range": "bytes=0-9"}), 206)
    past = guarded(client.get("/audio/track/12", headers={"Range": "bytes=99999999-"}), 416)
    assert past.headers["content-range"].startswith("bytes */")
    guarded(client.get("/", headers={"Host": "evil.example"}), 421)
    guarded(client.post("/", headers={"Origin": "http://evil.example"}), 403)
    guarded(client.delete("/"), 405)
    guarded(client.get("/signin", follow_redirects=False), 303)
    guarded(client.get("/config", headers={"Origin": "http://127.0.0.1"}), 200)  # Gradio would add CORS headers

    stranger = visit(locked)
    for path in ("/", "/config", "/audio/track/12", "/gradio_api/queue/data?session_hash=a", "/nowhere", "/login"):
        answer = guarded(stranger.get(path), 401)
        assert answer.json() == {"detail": "sign in first"} and answer.headers["cache-control"] == "no-store"
    guarded(stranger.post("/gradio_api/queue/join", json={"data": [], "fn_index": 0, "session_hash": "a"}), 401)
    guarded(stranger.get("/favicon.ico"), 200)
    assert guarded(stranger.get("/signin"), 200).headers["cache-control"] == "no-store"
    guarded(stranger.put("/signin"), 405)


def test_faults_say_nothing_of_the_server(store_path, caplog):
    async def raises(scope, receive, send):
        raise RuntimeError(f"File at path {REPOSITORY}/secret does not exist")

    async def says(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": str(REPOSITORY).encode()})

    async def breaks_off(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    for app in (raises, says):
        answer = guarded(visit(Guard(app, Settings(store_path))).get("/some/page"), 500)
        assert answer.json() == {"detail": "something failed here; the server's log says what"}
        assert "/some/page" in caplog.text
    assert "secret does not exist" in caplog.text  # there, and nowhere else
    with pytest.raises(RuntimeError, match="too late"):
        visit(Guard(breaks_off, Settings(store_path))).get("/")


def test_a_fault_inside_the_real_application(client):
    event = {"data": [], "fn_index": 999, "session_hash": "a"}
    guarded(client.post("/gradio_api/queue/join", json=event), 500)
    for body in (b"{", b"[" * 100_000, b"\xff\xfe\x00"):
        guarded(client.post("/gradio_api/queue/join", content=body), 400)
    assert guarded(client.post("/gradio_api/queue/join", content=b'"' + b"a" * 1_000_001), 413)


@pytest.mark.parametrize("nest", ["data", "event_data"])
def test_events_cannot_name_files(client, nest, store_path):
    """Gradio copies a file that an event names into its cache, and its error then tells where."""
    named = {"path": str(store_path), "meta": {"_type": "gradio.FileData"}}
    event = {"data": [], "fn_index": 0, "session_hash": "a", nest: [1, {"deep": [named]}]}
    twice = json.dumps(event)[:-1] + f', "{nest}": []}}'  # the second hides the first from most parsers
    escaped = json.dumps(event).replace('"path"', '"p\\u0061th"')
    for body in (json.dumps(event), twice, escaped, json.dumps(event).encode("utf-16")):
        answer = guarded(client.post("/gradio_api/queue/join", content=body), 400)
        assert answer.json() == {"detail": "this page takes no files"}


def test_gradio_checks_paths_by_itself_too(server):
    mounted = next(route.app for route in server.app.routes if type(route).__name__ == "Mount")
    assert mounted.get_blocks().has_launched


def gradio_paths(routes):
    for route in routes:
        included = getattr(route, "original_router", None)
        yield from gradio_paths(included.routes) if included else [getattr(route, "path", "")]


def test_every_door_of_gradio_is_closed_but_those_in_use(server, client):
    mounted = next(route.app for route in server.app.routes if type(route).__name__ == "Mount")
    doors = [path for path in gradio_paths(mounted.routes) if path.startswith("/gradio_api/")]
    assert len(doors) > 30
    for door in doors:
        if door.removeprefix("/gradio_api/") not in OPEN:
            path = re.sub(r"{.*?}", "x", door)
            assert client.get(path).status_code == client.post(path).status_code == 403, path
    for path in (
        "/login",
        "/logout",
        "/svelte/x",
        "/monitoring/summary",
        "/openapi.json",
        "/pwa_icon/9",
        "/robots.txt",
    ):
        assert client.get(path).json() == {"detail": "closed"}


@pytest.mark.parametrize(
    "path",
    [
        *("/gradio_api/upload", "/gradio_api/upload/", "/gradio_api/%75pload", "/gradio_api%2fupload"),
        *("//gradio_api/upload", "/gradio_api//upload", "/GRADIO_API/upload", "/gradio_api/UPLOAD", "/Login"),
        *("/./gradio_api/upload", "/x/../gradio_api/upload", "/x/%2e%2e/gradio_api/upload", "/login/"),
        *("/gradio_api/queue/../upload", "/gradio_api/queue/join/../../upload", "/gradio_api/upload%00"),
        *("/gradio_api/upload;x=1", "/gradio_api/queue/join%0a", "/gradio_api%5cupload", "/gradio_api"),
        *("/gradio_api/file=/../queue/join", "/gradio_api/heartbeat/../upload", "/gradio_api/queue/join/"),
        *("/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/gradio_api/proxy=http://localhost/"),
    ],
)
def test_no_spelling_opens_a_closed_door(server, path):
    for method in ("GET", "POST"):
        status, headers, body = raw(server, method, path)
        assert status in (403, 404) and headers["x-frame-options"] == "DENY"
        assert json.loads(body)["detail"] in ("closed", "there is no such page")


def raw(app, method, path):
    """Status, headers and body for a path as it stands: test clients tidy paths up as browsers do."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": unquote(path), "query_string": b"", "scheme": "http"}
    scope = {**scope, "headers": [(b"host", b"localhost")], "client": None}
    with start_blocking_portal() as portal:  # in a thread: beside browser tests this one has a running loop
        portal.call(app, scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent)


def test_websockets_are_refused(client, locked):
    from starlette.websockets import WebSocketDisconnect

    for app in (client, visit(locked)):
        with pytest.raises(WebSocketDisconnect), app.websocket_connect("/gradio_api/queue/join"):
            pass


def test_the_page_names_no_path_and_no_other_host(client, store_path):
    text = client.get("/").text + client.get("/config").text
    assert str(store_path.parent) not in text and str(REPOSITORY) not in text
    assert "fonts.googleapis.com" not in client.get("/config").text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:7860", "127.8.9.1", "[::1]:7860", "[::1]"])
def test_loopback_names_are_known(client, host):
    assert client.get("/favicon.ico", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "[::]", "::1", "", "a@localhost"],
)
def test_other_names_are_refused(client, locked, store_path, host):
    for app in (client, visit(locked)):
        guarded(app.get("/favicon.ico", headers={"Host": host}), 421)
    remote = visit(Guard(locked.app, Settings(store_path, host="0.0.0.0", allow_remote=True)))
    expected = 421 if host in ("::1", "a@localhost") else 200  # no host at all in any spelling
    assert remote.get("/favicon.ico", headers={"Host": host}).status_code == expected

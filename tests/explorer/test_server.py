"""Headers, audio by id with Range, closed doors, start-up messages, and no torch."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = "torch torchaudio librosa laion_clap stable_audio_tools precompute"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config",
        "/audio/clip/1",
        "/audio/track/999",
        "/static/whence/curve.js",
        "/nowhere",
        "/gradio_api/upload",
    ],
)
def test_every_response_is_guarded(client, path):
    headers = client.get(path).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("track", "mime"), [(12, "audio/wav"), (13, "audio/flac"), (14, "audio/mpeg"), (15, "audio/ogg")]
)
def test_whole_file_and_range(client, track, mime):
    whole = client.get(f"/audio/track/{track}")
    assert whole.status_code == 200 and whole.headers["content-type"] == mime
    part = client.get(f"/audio/track/{track}", headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == whole.content[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    past = client.get(f"/audio/track/{track}", headers={"Range": f"bytes={len(whole.content)}-"})
    assert past.status_code == 416 and past.headers["content-range"] == f"bytes */{len(whole.content)}"
    head = client.head(f"/audio/track/{track}")
    assert head.status_code == 200 and int(head.headers["content-length"]) == len(whole.content)


def test_excerpt_is_cut_and_ranged(client, made):
    address = f"/audio/track/{made.EXCERPT}"
    whole = client.get(address)
    assert whole.status_code == 200 and whole.headers["content-type"] == "audio/wav"
    assert soundfile.info(io.BytesIO(whole.content)).duration == pytest.approx(15.0)
    size = len(whole.content)
    for asked, expected in (
        ("bytes=0-99", whole.content[:100]),
        ("bytes=-50", whole.content[-50:]),
        (f"bytes={size - 5}-", whole.content[-5:]),
        (f"bytes=100-{size + 999}", whole.content[100:]),
    ):
        part = client.get(address, headers={"Range": asked})
        assert part.status_code == 206 and part.content == expected
    assert client.get(address, headers={"Range": f"bytes={size}-"}).status_code == 416
    for ignored in ("bytes=9-3", "bytes=-", "lines=1-2", "bytes=0-1,4-5", "bytes=a-b"):
        assert client.get(address, headers={"Range": ignored}).status_code == 200


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("FORBIDDEN", 403, "the rights holder does not allow listening"),
        ("MISSING", 404, "the audio file is missing"),
        ("PATHLESS", 404, "no audio is at hand"),
        ("ESCAPING", 404, "the audio file lies outside its folder"),
        ("LINKED", 404, "the audio file lies outside its folder"),
        ("BROKEN", 404, "the audio file cannot be decoded"),
    ],
)
def test_refusals_say_why(client, made, name, status, reason):
    answer = client.get(f"/audio/track/{getattr(made, name)}")
    assert (answer.status_code, answer.json()) == (status, {"detail": reason})


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/audio/track/..%2f..%2fstore.duckdb",
            "/audio/track/%2e%2e/store.duckdb",
            "/audio/track/0",
            "/audio/track/-1",
        ),
        *(
            "/audio/track/1.wav",
            "/audio/track/",
            "/audio/",
            "/audio/other/1",
            "/audio/track/99999999999999999999",
        ),
        *(
            "/audio/track/1/2",
            "/static/whence/curve.py",
            "/static/whence/..%2fstore.py",
            "/static/whence/__init__.py",
        ),
        *("/static/..%2f..%2fserver.py", "/store.duckdb", "/audio/track/1%00"),
    ],
)
def test_no_other_address_gives_a_file(client, path):
    assert client.get(path).status_code in (403, 404)


def test_gradio_serves_no_files(client, store_path):
    for path in (store_path, "/etc/passwd"):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_roots_must_be_relative(made, tmp_path):
    import duckdb

    from explorer.audio import AudioError, locate
    from explorer.store import Store

    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE store_info SET track_root = '/'")
    opened = Store(path)
    with pytest.raises(AudioError, match="outside"):
        locate(opened, opened.track_sound(12))


def test_uploads_and_api_pages_are_closed(client):
    for size in (10, 5000):
        answer = client.post("/gradio_api/upload", files={"files": ("x.txt", b"x" * size)})
        assert answer.status_code == 403
    assert client.post("/upload", files={"files": ("x.txt", b"x")}).status_code in (403, 404, 405)
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code in (403, 404)


def test_the_page_names_no_path_and_no_other_host(client, store_path):
    text = client.get("/").text + client.get("/config").text
    assert str(store_path.parent) not in text and str(REPOSITORY) not in text
    assert "fonts.googleapis.com" not in client.get("/config").text


def test_importing_writes_nothing_into_the_package():
    subprocess.run([sys.executable, "-B", "-c", "import explorer.app"], cwd=REPOSITORY, check=True, timeout=60)
    assert not list((REPOSITORY / "explorer").rglob("*.pyi"))


def test_scripts_and_favicon(client):
    script = client.get("/static/whence/curve.js")
    assert script.status_code == 200 and script.headers["content-type"].startswith("text/javascript")
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


def test_scripts_put_data_on_the_page_as_text_only():
    for path in (REPOSITORY / "explorer" / "components").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for banned in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert banned not in text, f"{path.name}: {banned}"


def test_explorer_needs_no_torch(store_path):
    program = f"""
import sys
for name in {HEAVY!r}.split():
    sys.modules[name] = None  # an import of it raises ImportError
from explorer.__main__ import main
from explorer.server import create_server
from explorer.settings import Settings
create_server(Settings(__import__("pathlib").Path({str(store_path)!r})))
assert not [name for name in {HEAVY!r}.split() if sys.modules.get(name)]
print("served")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "served", done.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "explorer", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "/nowhere.duckdb"], "explorer: no store at /nowhere.duckdb: make one with `make demo`"),
        (["--host", "0.0.0.0"], "this version has no password (it arrives in a later one)"),
        (["--port", "0"], "explorer: port must lie between 1 and 65535, got 0"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message):
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_a_taken_port_gives_the_next_one():
    from explorer.__main__ import bind

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with bind("127.0.0.1", port) as listener:
            assert port < listener.getsockname()[1] < port + 50


def test_loopback():
    from explorer.settings import Settings, SettingsError, is_loopback

    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", ""))
    with pytest.raises(SettingsError, match="host"):
        Settings(Path("x"), host="0.0.0.0")
    assert Settings(Path("x"), host="0.0.0.0", allow_remote=True).host == "0.0.0.0"

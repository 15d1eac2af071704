"""Audio by id with Range, static files, start-up messages, and no torch."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = "torch torchaudio librosa laion_clap stable_audio_tools precompute"


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
        ("PATHLESS", 404, "its audio is not part of this copy"),
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


def test_roots_must_be_relative(made, tmp_path):
    import duckdb

    from explorer.sound.audio import SoundRefusedError, locate
    from explorer.store import Store

    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE store_info SET track_root = '/'")
    opened = Store(path)
    with pytest.raises(SoundRefusedError, match="outside"):
        locate(opened, opened.tracks.read_sound(12))


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


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "explorer", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "/nowhere.duckdb"], "explorer: no store at /nowhere.duckdb: make one with `make demo`"),
        (["--host", "0.0.0.0"], "host 0.0.0.0 can be reached by other machines: set a password"),
        (["--password-file", "/nowhere"], "explorer: cannot read the password file /nowhere: No such file"),
        (["--port", "0"], "explorer: port must lie between 1 and 65535, got 0"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message):
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_an_unfit_password_ends_in_one_line():
    done = run(WHENCE_PASSWORD="short")
    message = "explorer: the password is too short: take at least 8 characters\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_password_options(tmp_path, capsys, monkeypatch):
    from explorer.__main__ import parse
    from explorer.settings import SettingsError

    file = tmp_path / "word"
    file.write_text("correct horse")
    file.chmod(0o600)
    arguments = ["--store", "x", "--host", "0.0.0.0"]
    assert parse([*arguments, "--password-file", str(file)]).password.check("correct horse")
    assert capsys.readouterr().err == ""
    file.chmod(0o644)
    parse([*arguments, "--password-file", str(file)])
    assert capsys.readouterr().err == f"explorer: others can read the password file: chmod 600 {file}\n"
    monkeypatch.setenv("WHENCE_PASSWORD", "correct horse")
    assert parse(arguments).password.check("correct horse") and "WHENCE_PASSWORD" not in os.environ
    with pytest.raises(SettingsError, match=r"--password-file PATH, or WHENCE_PASSWORD.*--i-know"):
        parse(arguments)
    assert parse([*arguments, "--i-know"]).password is None


def test_the_start_says_who_can_listen():
    from explorer.__main__ import notes
    from explorer.settings import Password, Settings

    def said(**options):
        return notes(Settings(Path("x"), **options))

    word = Password.of("correct horse")
    assert said() == ["no password is asked for"]
    assert said(password=word) == ["a password is asked for"]
    assert said(host="::", allow_remote=True) == ["no password is asked for: whoever reaches this machine can listen"]
    assert said(host="::", password=word)[1:] == ["over http it travels unencrypted: put a TLS proxy in front"]


def test_help_needs_no_gradio():
    program = "import sys; sys.modules['gradio'] = sys.modules['starlette'] = None; import explorer.__main__ as m"
    command = [sys.executable, "-c", f"{program}; m.main(['--help'])"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "it wins over the variable WHENCE_PASSWORD" in " ".join(done.stdout.split())


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


def test_sessions_need_a_hosts_key(tmp_path, capsys):
    from explorer.__main__ import parse
    from explorer.settings import Settings, SettingsError

    file, key = tmp_path / "s.sqlite", tmp_path / "key"
    made = parse(["--sessions", str(file)], "printed key")
    assert made.sessions == file and made.host_key.check("printed key")
    key.write_text("a key of mine\n")
    key.chmod(0o600)
    named = parse(["--sessions", str(file), "--host-key-file", str(key)], "printed key")
    assert named.host_key.check("a key of mine") and not named.host_key.check("printed key")
    assert "a key of mine" not in repr(named)
    key.chmod(0o644)
    parse(["--sessions", str(file), "--host-key-file", str(key)])
    assert capsys.readouterr().err == f"explorer: others can read the host's key file: chmod 600 {key}\n"
    with pytest.raises(SettingsError, match="--sessions PATH"):
        parse(["--host-key-file", str(key)])
    with pytest.raises(SettingsError, match="--sessions PATH and a host's key"):
        Settings(tmp_path / "store.duckdb", sessions=file)
    assert parse([]).sessions is None

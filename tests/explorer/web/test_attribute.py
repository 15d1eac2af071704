"""--attribute: who may ask, what is taken, one at a time and not for ever; the new version of the store is shown."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile

WORD = "correct horse"
FAKE = """
import json, os, shutil, sys, time
import duckdb
store = sys.argv[sys.argv.index("--store") + 1]
with open(store + ".argv", "w") as handle:
    json.dump(sys.argv[1:], handle)
text = " ".join(sys.argv)
if "sleep" in text:
    print("  scores, shards of 16 tracks: 1 of 3, 9 s left", flush=True)
    time.sleep(60)
if "fail" in text:
    print("precompute: /tmp/whence-1.upload: unreadable (Format not recognised)", file=sys.stderr)
    sys.exit(1)
if "twice" in text:
    print(f"  waiting: another command is changing {store}", flush=True)
    time.sleep(1)
    print(f"{store} holds clip 2 already: the same sound, words and seed; not added again", flush=True)
    sys.exit(0)
beside = store + ".part"
shutil.copyfile(store, beside)
with duckdb.connect(beside) as con:
    con.execute("INSERT INTO clips BY NAME SELECT * REPLACE (900 AS clip_id, 'user' AS kind, 'a new one' AS prompt)"
                " FROM clips WHERE clip_id = 1")
    for table in ("scores", "summaries", "clip_moments"):
        rows = f"SELECT * REPLACE (900 AS clip_id) FROM {table} WHERE clip_id = 1 AND method_id = 1"
        con.execute(f"INSERT INTO {table} {rows}")
os.replace(beside, store)
print(f"published {store} with clip 900 in 1 s", flush=True)
"""


@pytest.fixture
def shop(made, tmp_path: Path) -> Path:
    """A store of its own, for it is changed."""
    (tmp_path / "run.toml").write_text("")
    (tmp_path / "fake.py").write_text(FAKE)
    return made.make_store(tmp_path / "shop")


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def client(shop: Path, uploads: Path, monkeypatch):
    """Signed in, on a server whose offline stage is a short script."""
    from starlette.testclient import TestClient

    from explorer import server, settings

    monkeypatch.setattr(settings, "OFFLINE", ())
    folder = shop.parent.parent
    fake = [sys.executable, "-u", str(folder / "fake.py"), "--store", str(shop)]
    monkeypatch.setattr(server, "build_command", lambda config, store: fake)
    options = settings.Settings(shop, password=settings.Password.of(WORD), attribute=folder / "run.toml")
    with TestClient(server.create_server(options), base_url="http://127.0.0.1") as client:
        assert client.get("/attribute/state").status_code == 401
        assert client.post("/attribute/prompt", json={"prompt": "a waltz"}).status_code == 401
        assert client.post("/signin", data={"password": WORD}, follow_redirects=False).status_code == 303
        yield client


def wav(seconds: float = 0.2, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(int(seconds * rate), np.float32), rate, format="WAV")
    return buffer.getvalue()


def finished(client) -> dict:
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        state = client.get("/attribute/state").json()
        if state["name"] != "running":
            return state
        time.sleep(0.05)
    raise AssertionError("it did not end")


def test_a_prompt_becomes_a_clip_of_the_store_on_show(client, shop: Path) -> None:
    assert client.get("/audio/clip/900").status_code == 404
    assert client.get("/attribute/state").json()["name"] == "idle"
    asked = client.post("/attribute/prompt", json={"prompt": "  --config  a waltz\n", "seed": 4})
    assert (asked.status_code, asked.json()["name"], asked.json()["number"]) == (202, "running", 1)
    state = finished(client)
    assert (state["name"], state["clip_id"], state["text"]) == ("done", 900, "Clip 900 is ready.")
    assert client.get("/audio/clip/900").status_code == 200 and client.get("/audio/clip/1").status_code == 200
    given = json.loads(Path(f"{shop}.argv").read_text())
    assert given[2:] == ["--prompt=--config a waltz", "--seed=4"]
    assert sorted(path.name for path in shop.parent.glob(".*")) == []


def test_a_clip_that_is_there_already_is_shown(client) -> None:
    assert client.post("/attribute/prompt", json={"prompt": "twice"}).status_code == 202
    limit, seen = time.monotonic() + 30, set()
    while (state := client.get("/attribute/state").json())["name"] == "running" and time.monotonic() < limit:
        seen.add(state["text"])
        time.sleep(0.05)
    assert (state["name"], state["clip_id"], state["text"]) == ("done", 2, "Clip 2 is ready.")
    assert "waiting: another command is changing …" in seen


def test_a_file_is_handed_on_and_removed(client, shop: Path, uploads: Path) -> None:
    asked = client.post("/attribute/audio", params={"name": "my song.wav", "caption": "a hum"}, content=wav())
    assert asked.status_code == 202 and finished(client)["name"] == "done"
    audio, title, caption = json.loads(Path(f"{shop}.argv").read_text())[2:]
    assert audio.startswith(f"--audio={uploads}/whence-") and title == "--title=my song.wav"
    assert caption == "--caption=a hum" and not list(uploads.iterdir())


def too_long() -> bytes:
    """Fifteen minutes and a bit of silence: 200 kB as FLAC."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(8000 * 901, np.int16), 8000, format="FLAC")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 400, "empty"),
        (b"this is no audio" * 50, 415, "no audio file"),
        (wav(0.0), 415, "no sound"),
        (too_long(), 413, "15 minutes"),
        (b"RIFF" + b"x" * 700_000, 413, "too large"),
    ],
    ids=("empty", "text", "no frames", "too long", "too large"),
)
def test_what_is_no_sound_or_too_much_of_it_is_refused(client, uploads, monkeypatch, content, status, reason) -> None:
    from explorer.web import uploads as module

    monkeypatch.setattr(module, "UPLOAD_BYTES", 600_000)
    bodies = [content]
    if status == 413 and reason == "too large":
        bodies.append(iter([content[:300_000], content[300_000:]]))  # sent in pieces, without a length
    for body in bodies:
        answer = client.post("/attribute/audio", params={"name": "x"}, content=body)
        assert answer.status_code == status and reason in answer.json()["detail"]
        assert not list(uploads.iterdir())
    assert client.get("/attribute/state").json()["name"] == "idle"
    assert client.post("/attribute/prompt", json={"prompt": "a waltz"}).status_code == 202  # the place is free again
    finished(client)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 400),
        (b"[]", 400),
        (b'{"prompt": 3}', 400),
        (b'{"prompt": " \\u0000 "}', 400),
        (b'{"prompt": "a", "seed": -1}', 400),
        (b'{"prompt": "a", "seed": true}', 400),
        (b"[" * 5000, 400),
        (json.dumps({"prompt": "a" * 501}).encode(), 413),
        (json.dumps({"prompt": "a" * 9000}).encode(), 413),
    ],
    ids=("none", "list", "number", "blank", "seed below 0", "seed no number", "deep", "long", "very long"),
)
def test_what_is_no_prompt_is_refused(client, body: bytes, status: int) -> None:
    assert client.post("/attribute/prompt", content=body).status_code == status
    assert client.get("/attribute/state").json()["name"] == "idle"


def test_one_at_a_time_and_not_for_ever(shop: Path, uploads: Path) -> None:
    from explorer.web.jobs import Jobs

    fake = [sys.executable, "-u", str(shop.parent.parent / "fake.py"), "--store", str(shop)]
    jobs = Jobs(fake, lambda: None, limit_s=1.5)
    upload = uploads / "whence-x"
    upload.write_bytes(b"x")
    assert jobs.reserve() and not jobs.reserve()
    jobs.start(["sleep"], upload)
    limit, seen = time.monotonic() + 60, set()
    while jobs.state.name == "running" and time.monotonic() < limit:
        seen.add(jobs.state.text)
        time.sleep(0.02)
    assert jobs.state.name == "failed" and "was stopped" in jobs.state.text and not upload.exists()
    assert seen <= {"Starting", "scores, shards of 16 tracks: 1 of 3, 9 s left"}
    deadline = time.monotonic() + 10
    while not jobs.reserve():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_second_listener_has_to_wait(client, shop: Path) -> None:
    assert client.post("/attribute/prompt", json={"prompt": "sleep"}).status_code == 202
    for answer in (
        client.post("/attribute/prompt", json={"prompt": "a waltz"}),
        client.post("/attribute/audio", content=wav()),
    ):
        assert answer.status_code == 409 and "try again" in answer.json()["detail"]
    limit = time.monotonic() + 30
    while client.get("/attribute/state").json()["text"] == "Starting" and time.monotonic() < limit:
        time.sleep(0.05)
    client.app.app.state.jobs.stop()
    assert finished(client)["name"] == "failed"


def test_why_it_failed_is_told_without_a_path(client) -> None:
    client.post("/attribute/prompt", json={"prompt": "fail"})
    state = finished(client)
    assert state["name"] == "failed" and state["text"] == "Not possible: … unreadable (Format not recognised)"


def test_another_site_cannot_ask(client) -> None:
    asked = client.post("/attribute/prompt", json={"prompt": "a"}, headers={"Origin": "http://elsewhere.example"})
    assert asked.status_code == 403


def test_without_the_option_there_is_no_such_route(store_path) -> None:
    from starlette.testclient import TestClient

    from explorer.server import create_server
    from explorer.settings import Settings

    with TestClient(create_server(Settings(store_path)), base_url="http://127.0.0.1") as plain:
        assert plain.get("/attribute/state").status_code == 404
        assert plain.post("/attribute/audio", content=wav()).status_code in (404, 405)
        assert "Make it and find its tracks" not in plain.get("/").text


def test_the_option_is_refused_in_one_line(tmp_path: Path, monkeypatch) -> None:
    from explorer import settings
    from explorer.__main__ import main

    def said(capture: list[str], *arguments: str) -> str:
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        assert main(["--store", "x", *arguments]) == 1
        text = sys.stderr.getvalue()
        assert text.count("\n") == 1
        return text

    assert "set a password" in said([], "--attribute")
    monkeypatch.setenv("WHENCE_PASSWORD", WORD)
    monkeypatch.setattr(settings, "OFFLINE", ("no_such_package",))
    assert "no_such_package is not installed" in said([], "--attribute")
    monkeypatch.setenv("WHENCE_PASSWORD", WORD)
    monkeypatch.setattr(settings, "OFFLINE", ())
    assert "no config at" in said([], "--attribute", str(tmp_path / "none.toml"))


def test_a_store_is_opened_again_in_place(shop: Path) -> None:
    from explorer.listen.page import ListenPage
    from explorer.state.store_views import StoreViews
    from explorer.store import Store, StoreError

    store = Store(shop)
    views = StoreViews(store)
    page = ListenPage(views)
    view = views.read_address({})
    before, seen = page.describe_table(view), page.describe_overview(view)
    version = shop.with_name("next.duckdb")
    shutil.copyfile(shop, version)
    with duckdb.connect(str(version)) as con:
        con.execute(
            "INSERT INTO clips BY NAME SELECT * REPLACE (900 AS clip_id, 'user' AS kind) FROM clips WHERE clip_id = 1"
        )
        for table in ("scores", "summaries"):
            con.execute(f"INSERT INTO {table} SELECT * REPLACE (900 AS clip_id) FROM {table} WHERE clip_id = 1")
    version.replace(shop)
    assert len(Store(shop).clips.list_scored()) == len(views.clips), (
        "DuckDB no longer keeps to the old file: simplify reopen()"
    )
    views.reopen()
    assert 900 in views.clip_by_id
    assert page.describe_table(view) == before and page.describe_overview(view) != seen
    assert views.read_address({"clip": "900"}).clip_id == 900
    assert ("Your clip 900" in page.list_choices()[3][0]) or any(
        "Your clip 900" in label for label, _ in page.list_choices()
    )
    shop.write_bytes(b"no store")
    with pytest.raises(StoreError):
        views.reopen()
    assert 900 in views.clip_by_id and page.describe_table(view) == before
    assert not list(shop.parent.glob(".*"))


@pytest.mark.browser
def test_a_listener_asks_and_hears_the_new_clip(open_page, serve, shop: Path, uploads: Path, monkeypatch) -> None:
    from explorer import server, settings
    from support.browsing import expect

    monkeypatch.setattr(settings, "OFFLINE", ())
    folder = shop.parent.parent
    fake = [sys.executable, "-u", str(folder / "fake.py"), "--store", str(shop)]
    monkeypatch.setattr(server, "build_command", lambda config, store: fake)
    options = settings.Settings(shop, password=settings.Password.of(WORD), attribute=folder / "run.toml")
    with serve(options) as address:
        page = open_page("?clip=2", at=address, may_fail=("/signin", "/attribute/audio"))
        page.locator("input[type=password]").fill(WORD)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="A clip of your own").click()
        form = page.locator("#form")
        form.get_by_label("Or an audio file").set_input_files({"name": "x.wav", "mimeType": "", "buffer": b"no audio"})
        form.get_by_role("button", name="Find its tracks", exact=True).click()
        expect(form.get_by_role("status")).to_contain_text("no audio file that can be read here")
        form.get_by_label("Words for a new clip").fill("a waltz")
        form.get_by_role("button", name="Make it and find its tracks").click()
        expect(form.get_by_role("status")).to_have_text("Clip 900 is ready.")
        form.get_by_role("button", name="Open the clip").click()
        page.wait_for_url("**clip=900**")
        expect(page.locator("#clip input")).to_have_value(re.compile("Your clip 900"))
        page.locator("#clip input").click()  # and away from it again: the list holds old and new
        page.get_by_role("option", name=re.compile("^Generated clip 2 ")).click()
        page.wait_for_url("**clip=2**")


def test_words_without_paths() -> None:
    from explorer.web.jobs import hide_paths
    from explorer.web.uploads import clean_text

    assert hide_paths("  set aside: track 3 (/srv/music/a.wav): missing\x1b[0m") == "set aside: track 3 … missing[0m"
    assert hide_paths("C:\\music\\x is gone") == "… is gone" and len(hide_paths("a" * 999)) == 200
    assert clean_text(" a\n\tb\x00 c ", 9) == "a b c" and clean_text("abc", 2) == "ab"

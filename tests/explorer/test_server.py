"""Static files, the package as it is imported, and no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = "torch torchaudio librosa laion_clap stable_audio_tools precompute"


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


def test_loopback():
    from explorer.settings import Settings, SettingsError, is_loopback

    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", ""))
    with pytest.raises(SettingsError, match="host"):
        Settings(Path("x"), host="0.0.0.0")
    assert Settings(Path("x"), host="0.0.0.0", allow_remote=True).host == "0.0.0.0"


def test_fonts_come_from_here(client):
    got = client.get("/static/whence/inter-latin.woff2")
    assert got.status_code == 200 and got.headers["content-type"] == "font/woff2" and got.content[:4] == b"wOF2"
    assert client.get("/static/whence/LICENSE").status_code == 404
    assert client.get("/static/whence/..%2fschema.sql").status_code == 404


@pytest.fixture
def damaged(store_path, tmp_path):
    """A store that opens, whose moments cannot be read."""
    from explorer.state.store_views import StoreViews
    from explorer.store import Store
    from explorer.store.errors import StoreDamagedError

    whole = store_path.read_bytes()
    for start in range(3 * 4096, len(whole) - 262_144, 262_144):  # headers, then blocks
        path = tmp_path / f"{start}.duckdb"
        path.write_bytes(whole[: start + 100] + bytes(byte ^ 0xFF for byte in whole[start + 100 : start + 200]))
        with path.open("ab") as file:
            file.write(whole[start + 200 :])
        try:
            views = StoreViews(Store(path))
        except StoreDamagedError:
            continue
        try:
            views.store.scores.read_pairs(1, [(1, 3)])
        except StoreDamagedError:
            return path
        finally:
            views.store.close()
    raise AssertionError("no block of the store holds moments alone")


def test_damage_that_is_found_late_is_told_in_a_line(damaged, caplog):
    from starlette.testclient import TestClient

    from explorer.server import create_server
    from explorer.settings import Settings
    from explorer.text.scores import DAMAGED

    with TestClient(create_server(Settings(damaged)), base_url="http://127.0.0.1") as client:
        answer = client.get("/report/clip.html", params={"clip": "1"})
    assert (answer.status_code, answer.json()) == (503, {"detail": DAMAGED})
    lines = [record for record in caplog.records if record.name == "explorer"]
    assert [f"{damaged} is damaged (" in record.getMessage() for record in lines] == [True]
    assert lines[0].exc_info is None and "\n" not in lines[0].getMessage()


def test_an_event_that_meets_damage_is_a_message_on_the_page(damaged):
    import gradio as gr

    from explorer.app import build_app
    from explorer.state.store_views import StoreViews
    from explorer.store import Store
    from explorer.text.scores import DAMAGED

    blocks = build_app(StoreViews(Store(damaged)), False, False)
    [load] = [one.fn for one in blocks.fns.values() if one.name == "load"]

    with pytest.raises(gr.Error, match="The store is damaged") as caught:
        load(SimpleNamespace(query_params={"clip": "1", "track": "3"}))
    assert caught.value.message == DAMAGED and not caught.value.print_exception

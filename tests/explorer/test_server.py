"""Static files, the package as it is imported, and no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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

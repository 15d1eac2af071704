"""Fixtures of the explorer's tests: a store through schema.sql, the server in a thread, a browser.

`make_store` comes as a fixture (import mode importlib: test modules import nothing from each other).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

CHROMIUM = os.environ.get("WHENCE_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
]


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """The module make_store: its function and the ids of the tracks with something special."""
    spec = importlib.util.spec_from_file_location("explorer_make_store", Path(__file__).with_name("make_store.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def store_path(made: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One read-only store for the whole session; a test that changes a store makes its own."""
    return made.make_store(tmp_path_factory.mktemp("explorer") / "shop")


@pytest.fixture
def store(store_path: Path) -> Iterator[Any]:
    from explorer.store import Store

    opened = Store(store_path)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def server(store_path: Path) -> Any:
    from explorer.server import create_server
    from explorer.settings import Settings

    return create_server(Settings(store_path))


@pytest.fixture(scope="session")
def client(server: Any) -> Iterator[Any]:
    from starlette.testclient import TestClient

    with TestClient(server) as test_client:
        yield test_client


@pytest.fixture(scope="session")
def url(store_path: Path) -> Iterator[str]:
    """The address of the application, served from a thread."""
    from explorer.server import create_server
    from explorer.settings import Settings

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(create_server(Settings(store_path)), host="127.0.0.1", port=port, log_level="warning")
    web = uvicorn.Server(config)
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    limit = time.monotonic() + 60
    while not web.started and time.monotonic() < limit:
        time.sleep(0.05)
    assert web.started, "the server did not start within 60 s"
    yield f"http://127.0.0.1:{port}"
    web.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI"):
            pytest.fail(f"no Chromium at {CHROMIUM}: browser tests must run where CI is set")
        pytest.skip(f"no Chromium at {CHROMIUM}; name one with WHENCE_CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """open_page(query, **context options) -> a loaded page. The test fails on any fault the browser saw."""
    faults: list[str] = []
    contexts = []

    def dialog(box: Any) -> None:
        faults.append(f"dialog: {box.message}")
        box.dismiss()

    def request(sent: Any) -> None:
        if not sent.url.startswith((url, "data:", "blob:")):
            faults.append(f"left the host: {sent.url}")

    def response(got: Any) -> None:
        if got.status >= 400 and "/audio/" not in got.url:
            faults.append(f"{got.status}: {got.url}")

    def console(message: Any) -> None:
        if message.type == "error" and "/audio/" not in str(message.location):
            faults.append(f"console: {message.text}")

    def start(query: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("dialog", dialog)
        page.on("request", request)
        page.on("response", response)
        page.on("console", console)
        page.goto(f"{url}/{query}")
        page.locator("#curve .plot .chosen").wait_for(timeout=30_000)
        return page

    yield start
    for context in contexts:
        context.close()
    assert not faults, faults

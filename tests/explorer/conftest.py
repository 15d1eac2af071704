"""Fixtures of the explorer's tests: a store through schema.sql, the server in a thread, a browser.

`make_store` comes as a fixture (import mode importlib: test modules import nothing from each other). What browser
tests do with a page is in browsing.py.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
    from support import make_store

    return make_store


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

    with TestClient(server, base_url="http://127.0.0.1") as test_client:  # "testserver" is not a loopback name
        yield test_client


@contextmanager
def serving(settings: Any) -> Iterator[str]:
    """The address of the application, served from a thread."""
    from explorer.server import create_server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(create_server(settings), host="127.0.0.1", port=port, log_level="warning")
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


@pytest.fixture
def sessions_url(store_path: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an explorer with listening sessions, whose host's key is that of listening.py."""
    from support.listening import settings_of

    with serving(settings_of(store_path, tmp_path / "sessions.sqlite")) as address:
        yield address


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """serve(path) is a context in which the store at `path` has an address."""
    from explorer.settings import Settings

    return lambda path: serving(path if isinstance(path, Settings) else Settings(path))


@pytest.fixture(scope="session")
def url(store_path: Path) -> Iterator[str]:
    """The address of the page of the session's store."""
    from explorer.settings import Settings

    with serving(Settings(store_path)) as address:
        yield address


@pytest.fixture(scope="session")
def held_path(made: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only store with labels, passages and what else a rights holder looks for: see held.py."""
    from support.held import make_held

    return make_held(made, tmp_path_factory.mktemp("held") / "shop")


@pytest.fixture(scope="session")
def held(held_path: Path) -> Iterator[Any]:
    """Its views."""
    from explorer.state.store_views import StoreViews
    from explorer.store import Store

    opened = Store(held_path)
    yield StoreViews(opened)
    opened.close()


@pytest.fixture(scope="session")
def held_url(held_path: Path) -> Iterator[str]:
    from explorer.settings import Settings

    with serving(Settings(held_path)) as address:
        yield address


@pytest.fixture(scope="session")
def locked_url(store_path: Path) -> Iterator[tuple[str, str]]:
    """An explorer behind a password: (address, password)."""
    from explorer.settings import Password, Settings

    word = "correct horse"
    with serving(Settings(store_path, password=Password.of(word))) as address:
        yield address, word


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
    """open_page(query, at=, may_fail=, **context options) -> a page that is ready to be used.

    The test fails on any fault the browser saw: an error, a dialog, a request that left the host, an answer of 400 or
    more unless its address holds one of `may_fail`. `at`: another server; its page is not waited for.
    """
    faults: list[str] = []
    contexts = []

    def start(query: str = "", at: str | None = None, may_fail: tuple[str, ...] = (), **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        home = at or url

        def allowed(text: str) -> bool:
            return any(part in text for part in may_fail)

        def dialog(box: Any) -> None:
            faults.append(f"dialog: {box.message}")
            box.dismiss()

        def request(sent: Any) -> None:
            if not sent.url.startswith((f"{home}/", "data:", f"blob:{home}/")):
                faults.append(f"left the host: {sent.url}")

        def response(got: Any) -> None:
            if got.status >= 400 and not allowed(got.url):
                faults.append(f"{got.status}: {got.url}")

        def console(message: Any) -> None:
            if message.type == "error" and not allowed(str(message.location)):
                faults.append(f"console: {message.text}")

        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("dialog", dialog)
        page.on("request", request)
        page.on("response", response)
        page.on("console", console)
        page.goto(f"{home}/{query}")
        if at is None:
            ready(page)
        return page

    yield start
    for context in contexts:
        context.close()
    assert not faults, faults


READY = {
    "clips": "#overview .card-of",
    "compare": "#comparison .lines p",
    "wrong": "#cases tbody tr, #cases .nothing:not([hidden])",
    "holders": "#holders .question",
    "guide": "#guide h2",
    "listen": "#table tbody tr, #table .empty:not([hidden])",
}


def ready(page: Any) -> None:
    """Waits until the server's first answer is on the page, which by then names its view."""
    page.wait_for_function("new URLSearchParams(location.search).has('method')", timeout=30_000)
    tab = parse_qs(urlsplit(page.url).query).get("view", ["listen"])[0]
    page.locator(READY[tab]).first.wait_for(timeout=30_000)
    if tab == "listen":
        page.locator("#player .lane").first.wait_for()
        page.locator("#curve .plot .live").wait_for(state="attached")

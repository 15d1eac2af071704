"""Takes the README's pictures with Debian's Chromium: `python assets/pictures/take.py [--store PATH]`."""

from __future__ import annotations

import argparse
import io
import secrets
import socket
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from explorer.server import create_server
from explorer.settings import Password, Settings

HERE = Path(__file__).parent
VIEWS = (  # name, width and height in px, colour scheme, query, keys to press
    ("explorer-light", 1280, 1250, "light", "clip=8", ""),
    ("explorer-dark", 1280, 1250, "dark", "clip=8&scores=raw&decoys=1", ""),
    ("explorer-span", 1280, 800, "light", "clip=1&span=2.03-4.05&start=moment", "g"),
    ("explorer-narrow", 390, 1250, "light", "clip=8", ""),
)


def save_screenshot(page: Page, path: Path) -> None:
    """Write the visible part of a page as PNG, with a palette of 64 colours."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(64).save(path, optimize=True)
    print(path)


def take_listening_session(browser: Browser, address: str, key: str, path: Path) -> None:
    """Take a blind session as a listener sees it, with the settings that the host's form starts with."""
    host, listener = (
        browser.new_page(viewport={"width": 1280, "height": 1060}, color_scheme="light") for _ in range(2)
    )
    host.goto(f"{address}/host#{key}")
    host.get_by_role("button", name="New session").click()
    host.get_by_label("Title, as listeners see it").fill("Thursday evening")
    host.get_by_role("button", name="Make the session").click()
    link = host.locator("#one a[href*='/session/']")
    link.wait_for(timeout=60_000)
    listener.goto(link.inner_text())
    listener.get_by_label("Nickname").fill("Clara")
    listener.get_by_label("I agree").check()
    listener.get_by_role("button", name="Begin").click()
    listener.get_by_role("button", name="Go on", exact=True).click()
    listener.locator("#rating").wait_for()
    for digit in "42315":
        listener.keyboard.press(digit)
    listener.wait_for_timeout(1500)
    save_screenshot(listener, path)


def main() -> None:
    """Start a server over the store and take all pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path, default=HERE.parents[1] / "assets/demo/store.duckdb")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder, host_key = tempfile.TemporaryDirectory(), secrets.token_urlsafe()
    sessions = Path(folder.name) / "sessions.sqlite"
    app = create_server(Settings(store=options.store, port=port, sessions=sessions, host_key=Password.of(host_key)))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        for name, width, height, scheme, query, keys in VIEWS:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(f"http://127.0.0.1:{port}/?{query}")
            page.locator("#table tbody tr").first.wait_for(timeout=60_000)
            for key in keys:
                page.keyboard.press(key)
            page.wait_for_timeout(1500)
            save_screenshot(page, options.out / f"{name}.png")
            page.close()
        take_listening_session(browser, f"http://127.0.0.1:{port}", host_key, options.out / "session-light.png")
        browser.close()
    server.should_exit = True
    thread.join()
    folder.cleanup()


if __name__ == "__main__":
    main()

"""Take the README's pictures with Debian's Chromium: `python assets/pictures/take.py [--store PATH]`."""

from __future__ import annotations

import argparse
import io
import socket
import threading
import time
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from explorer.server import create_server
from explorer.settings import Settings

HERE = Path(__file__).parent
VIEWS = (  # name, width and height in px, colour scheme, query, keys to press
    ("explorer-light", 1280, 1250, "light", "clip=1", ""),
    ("explorer-dark", 1280, 1250, "dark", "clip=1&scores=raw&decoys=1", ""),
    ("explorer-span", 1280, 800, "light", "clip=1&span=2.03-4.05&start=moment", "g"),
    ("explorer-narrow", 390, 1250, "light", "clip=1", ""),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path, default=HERE.parents[1] / "assets/demo/store.duckdb")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = create_server(Settings(store=options.store, port=port))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
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
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shot.quantize(64).save(options.out / f"{name}.png", optimize=True)
            print(options.out / f"{name}.png")
        browser.close()
    server.should_exit = True


if __name__ == "__main__":
    main()

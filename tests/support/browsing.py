"""Steps that browser tests repeat on a page, named in a listener's words."""

from __future__ import annotations

import re
from typing import Any

import pytest

expect = pytest.importorskip("playwright.sync_api").expect
Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
GRAVE = ("serious", "critical")
expect.set_options(timeout=20_000)  # a busy machine may take its time; what holds is seen at once

_PLAYER = "[...document.querySelectorAll('#player *')].find((part) => part.player)?.player"
_GET = f"() => {{ const player = {_PLAYER}, transport = player?.transport; return player && (%s); }}"


def get(page: Any, what: str) -> Any:
    """The value of a JavaScript expression over `player` and `transport`."""
    return page.evaluate(_GET % what)


def until(page: Any, what: str) -> None:
    """Waits until such an expression is true."""
    page.wait_for_function(_GET % what)


def lane(page: Any, key: int | str) -> Any:
    """The lane of a track, or of the 'clip'."""
    return page.locator(f'#player .lane[data-lane="{key}"]')


def lanes(page: Any) -> list[str]:
    """The keys of the lanes, in order."""
    return page.locator("#player .lane").evaluate_all("(parts) => parts.map((part) => part.dataset.lane)")


def expect_lanes(page: Any, *keys: int | str) -> None:
    """The clip and these tracks, in this order."""
    page.wait_for_function(
        "(keys) => [...document.querySelectorAll('#player .lane')].map((part) => part.dataset.lane).join() === keys",
        arg=",".join(["clip", *map(str, keys)]),
    )


def hears(page: Any, key: int | str) -> None:
    """This lane is the one that is heard, or would be."""
    expect(lane(page, key).locator(".listen")).to_have_attribute("aria-pressed", "true")
    assert page.locator("#player .listen[aria-pressed=true]").count() == 1


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def drag(page: Any, wave: Any, first: float, last: float) -> None:
    """By mouse over a waveform, from one part of its width to another."""
    wave.scroll_into_view_if_needed()
    box = wave.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + first * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + (first + last) / 2 * box["width"], y, steps=4)
    page.mouse.move(box["x"] + last * box["width"], y)
    page.mouse.up()


def click_at(wave: Any, part: float) -> None:
    box = wave.bounding_box()
    wave.click(position={"x": part * box["width"], "y": box["height"] / 2})


def choose(page: Any, name: str, option: str) -> None:
    """An option of the dropdown 'clip' or 'method', by a part of its text."""
    page.locator(f"#{name} input").click()
    page.get_by_role("option", name=re.compile(re.escape(option))).click()


def expect_query(page: Any, *parts: str, without: tuple[str, ...] = ()) -> None:
    """The address has each of these parts ('clip=2'), and no parameter of these names."""
    page.wait_for_function(
        """([parts, without]) => {
          const now = new URLSearchParams(location.search);
          const holds = parts.map((part) => part.split("=")).every(([name, value]) => now.get(name) === value);
          return holds && !without.some((name) => now.has(name));
        }""",
        arg=[list(parts), list(without)],
    )


def pixels(canvas: Any) -> str:
    """The picture of a canvas as text, to compare."""
    return canvas.evaluate("(canvas) => canvas.toDataURL()")


def titles(page: Any) -> list[str]:
    """Titles of the table's rows, in order."""
    return page.locator("#table tbody [data-key^='title ']").all_inner_texts()


def until_first(page: Any, name: str) -> None:
    """Waits until the table's first row has this title."""
    page.wait_for_function(
        "(name) => document.querySelector('#table tbody [data-key^=\"title \"]')?.textContent === name", arg=name
    )


def row(page: Any, track_id: int) -> Any:
    return page.locator(f'#table tbody tr[data-track="{track_id}"]')


def title(page: Any, track_id: int) -> Any:
    """The button that chooses a track in the table."""
    return page.locator(f'#table [data-key="title {track_id}"]')


def open_tab(page: Any, name: str) -> None:
    """A tab of the page; on a narrow screen some lie behind the button "More tabs"."""
    tab = page.get_by_role("tab", name=name)
    if tab.count():
        tab.click()
        return
    page.get_by_role("button", name="More tabs").click()
    page.get_by_role("button", name=name, exact=True).click()


OUTSIDE = """() => {
  const box = (part) => part.getBoundingClientRect();
  const all = (names, within = document) => [...within.querySelectorAll(names)];
  const wide = all(".card, dialog[open], #top *, #verdict, #choice *").filter((part) => box(part).right > innerWidth);
  for (const home of all(".card :is(.lane, .player, .tracks, .curve, .clips, .study)")) {
    const { left, right } = box(home);
    const cut = (part) => part !== home && (getComputedStyle(part).overflowX !== "visible" || cut(part.parentElement));
    const over = (part) => box(part).width && (box(part).right > right + 3 || box(part).left < left - 3);
    wide.push(...all("*", home).filter((part) => over(part) && !part.closest("dialog") && !cut(part.parentElement)));
  }
  const page = document.scrollingElement.scrollWidth > innerWidth ? ["the page scrolls"] : [];
  return [...page, ...wide.map((part) => part.outerHTML.slice(0, 90))];
}"""


def findings(page, where: str, within: str | None = None) -> list[str]:
    page.evaluate("() => Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null)))")
    found = Axe().run(page, within).response["violations"]
    return [
        f"{where}: {one['id']} ({one['impact']}) at {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]

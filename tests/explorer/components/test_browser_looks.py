"""Themes, sizes of screen, touch, and the way in."""

from __future__ import annotations

import re

import pytest

from support.browsing import OUTSIDE, expect, get, hears, lane, open_tab, press, until

pytestmark = pytest.mark.browser


def test_themes_follow_the_system_until_one_is_chosen_and_are_remembered(open_page):
    page = open_page(color_scheme="dark")
    dark = page.locator("body.dark")
    expect(dark).to_have_count(1)
    page.emulate_media(color_scheme="light")
    expect(dark).to_have_count(0)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("group", name="Theme").get_by_label("Dark").check()
    expect(dark).to_have_count(1)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.reload()
    expect(page.get_by_role("group", name="Theme").get_by_label("Dark")).to_be_checked()
    expect(dark).to_have_count(1)
    page.emulate_media(color_scheme="light")
    expect(dark).to_have_count(1)
    page.get_by_role("group", name="Theme").get_by_label("System").check()
    expect(dark).to_have_count(0)


# What reaches over the edge of the screen, or of its part of the page, unless a box within that scrolls or cuts it.


def test_nothing_overflows_from_a_phone_to_a_wide_screen(open_page, made):
    page = open_page(
        f"?clip=1&lanes=1,{made.UNBROKEN},4,5,10,17&track={made.UNBROKEN}&span=1-1.5",
        viewport={"width": 390, "height": 844},
    )
    assert page.evaluate("document.fonts.check('16px Inter')")
    assert page.evaluate("[...document.fonts].some((font) => font.family === 'Inter' && font.status === 'loaded')")
    parts = {
        None: "#player .lane",
        "All clips": "#overview .card-of",
        "Compare": "#comparison .sides li",
        "Where is it wrong": "#cases td",
        "How to read this": "#guide h2",
    }
    for tab, part in parts.items():
        if tab:
            open_tab(page, tab)
        else:
            page.locator("#player .help").click()
        expect(page.locator(part).first).to_be_visible()
        for width in (390, 768, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 844})
            assert (tab, width, page.evaluate(OUTSIDE)) == (tab, width, [])
        if not tab:
            press(page, "Escape")
            for width in (1920, 390):
                page.set_viewport_size({"width": width, "height": 844})
                assert (width, page.evaluate(OUTSIDE)) == (width, [])
                plot = page.locator("#curve .plot").bounding_box()
                assert plot["width"] > 0.75 * min(width, 1120)  # drawn for this width


def test_by_touch_on_a_small_screen(open_page):
    page = open_page("?clip=1", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate(OUTSIDE) == []
    page.get_by_label("loop").tap()
    page.locator("#player .play").tap()
    until(page, "transport.playing")
    lane(page, 2).locator(".listen").tap()
    hears(page, 2)
    page.locator("#table .play").first.tap()
    until(page, "transport.playing && transport.sounding === '1'")
    page.locator("#player .play").tap()
    until(page, "!transport.playing")
    wave = lane(page, 2).locator(".wave")
    wave.scroll_into_view_if_needed()
    page.touchscreen.tap(*_at(wave, 0.75))
    assert get(page, "transport.offset") == pytest.approx(3.0, abs=0.1)
    # A finger that moves sideways over a waveform loops, as a mouse does.
    finger = page.context.new_cdp_session(page)
    (x, y), (end, _) = _at(wave, 0.25), _at(wave, 0.5)
    points = [("touchStart", x), *(("touchMove", x + (end - x) * i / 5) for i in range(1, 6)), ("touchEnd", None)]
    for kind, at in points:
        touched = [] if at is None else [{"x": at, "y": y}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})
    until(page, "player.region !== null")
    from_s, to_s = get(page, "player.region")
    assert (from_s, to_s) == (pytest.approx(1.0, abs=0.15), pytest.approx(2.0, abs=0.15))
    assert wave.bounding_box()["height"] >= 40


def _at(wave, part: float) -> tuple[float, float]:
    box = wave.bounding_box()
    return box["x"] + part * box["width"], box["y"] + box["height"] / 2


def test_a_password_is_asked_for_and_lets_in(open_page, locked_url):
    address, word = locked_url
    page = open_page("?clip=2", at=address, may_fail=("/signin",))
    field = page.locator("input[type=password]")
    field.fill("not the word")
    press(page, "Enter")
    expect(page.locator("body")).to_contain_text(re.compile("not the password|wrong", re.I))
    field.fill(word)
    press(page, "Enter")
    expect(lane(page, "clip").locator(".title")).to_contain_text("brass band")
    expect(page.locator("#player .lane")).to_have_count(5)
    press(page, " ")
    until(page, "transport.playing")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("input[type=password]")).to_be_visible()
    page.goto(f"{address}/?clip=2")
    expect(page.locator("input[type=password]")).to_be_visible()

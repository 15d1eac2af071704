"""The page as a listener meets it. Every test also fails on a page error, a dialog or a strange request."""

from __future__ import annotations

import re

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
pytestmark = pytest.mark.browser


def pick_clip(page, name: str) -> None:
    page.locator("#clip input").click()
    page.get_by_role("option", name=re.compile(re.escape(name))).click()


def test_loads_and_shows_hostile_titles_as_text(open_page):
    page = open_page()
    expect(page.locator("#note")).to_contain_text("demo run: 8 draws, 40 cohort clips")
    expect(page.locator("#verdict")).to_contain_text("4 of 40 training tracks are above noise")
    expect(page.locator("#player [data-lane=track] .title")).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.get_by_test_id("cell-1-1")).to_contain_text("${alert(1)}")
    expect(page.locator("#summary")).to_contain_text("of the positive normalised score")
    expect(page.locator("#caveat")).to_contain_text("noise draws, not retraining")
    assert page.locator("#curve .plot .decoy").count() == 40
    assert page.locator("img[src=x]").count() == 0
    pick_clip(page, "Generated clip 2")
    expect(page.locator("#player [data-lane=clip] .title")).to_contain_text("<img src=x onerror=alert(1)> ${alert(1)}")
    expect(page.locator("#player [data-lane=track] .title")).to_have_text("{{value}} `${alert(2)}`")


def test_clip_pick_changes_curve_table_sentence_and_address(open_page):
    page = open_page()
    pick_clip(page, "Generated clip 3")
    expect(page.locator("#verdict")).to_contain_text("Nothing is above noise for this clip")
    expect(page).to_have_url(re.compile(r"clip=3&method=unlearning&track=\d+"))
    expect(page.get_by_test_id("cell-0-6")).to_contain_text("not distinguishable from noise")
    expect(page.locator("#curve .plot .above")).to_have_count(0)
    pick_clip(page, "Control 101")
    expect(page.locator("#verdict")).to_contain_text("should find itself first")
    expect(page).to_have_url(re.compile("clip=101"))


def test_raw_scores_show_unheard_tracks_on_top(open_page):
    page = open_page()
    page.get_by_label("raw scores").check()
    expect(page.locator("#curve .plot")).to_contain_text("raw influence score")
    page.get_by_label("show decoys").check()
    expect(page.get_by_test_id("cell-0-6")).to_contain_text("decoy, never heard")
    expect(page).to_have_url(re.compile("scores=raw&decoys=1"))
    expect(page.locator("#summary")).to_contain_text("were never heard by the model")


def test_row_changes_player_curve_and_address(open_page):
    page = open_page()
    title = page.get_by_test_id("cell-3-1").inner_text().strip()
    page.get_by_test_id("cell-3-1").click()
    expect(page.locator("#player [data-lane=track] .title")).to_have_text(title)
    expect(page).to_have_url(re.compile("track=17"))


def test_a_row_of_the_sorted_table_is_still_that_track(open_page):
    page = open_page()
    header = page.get_by_role("columnheader", name="composer")
    header.hover()
    header.get_by_role("button", name="Open cell menu").click()
    page.get_by_role("menuitem", name="Sort ascending").click()
    second = page.locator('#table [role=gridcell][aria-rowindex="3"][aria-colindex="2"]')  # 1 is the header
    composer = page.locator('#table [role=gridcell][aria-rowindex="2"][aria-colindex="3"]')
    expect(composer).to_contain_text("<b>Bold</b>")
    title = second.inner_text().strip()
    second.click()
    expect(page.locator("#player [data-lane=track] .title")).to_have_text(title)


def test_curve_by_mouse_and_by_keys(open_page):
    page = open_page()
    plot = page.locator("#curve .plot")
    plot.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#curve .readout")).to_contain_text("Place 3 of 80")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("track=4"))
    box = plot.bounding_box()
    page.mouse.click(box["x"] + 53, box["y"] + 40)
    expect(page).to_have_url(re.compile("track=1(&|$)"))


def test_link_restores_the_view(open_page):
    page = open_page("?clip=2&method=cosine&track=60&scores=raw&decoys=1")
    expect(page.locator("#method input")).to_have_value("Gradient cosine")
    expect(page.locator("#clip input")).to_have_value(re.compile("Generated clip 2"))
    expect(page.get_by_label("raw scores")).to_be_checked()
    expect(page.get_by_label("show decoys")).to_be_checked()
    expect(page.locator("#player [data-lane=track]")).to_contain_text("decoy, never heard")
    assert page.url.endswith("?clip=2&method=cosine&track=60&scores=raw&decoys=1")


def test_garbage_link_gives_the_default_view(open_page):
    page = open_page("?clip=%3Cscript%3E&method=${alert(1)}&track=-7")
    expect(page).to_have_url(re.compile(r"\?clip=1&method=unlearning&track=1$"))


def test_copy_link(open_page):
    page = open_page("?clip=2", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Link copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def sounding(page, lane: str) -> float:
    return page.evaluate(f"document.querySelector('#player [data-lane={lane}] audio').currentTime")


def test_clip_then_track_are_heard(open_page):
    page = open_page("?clip=1&track=17")
    page.get_by_role("button", name="Hear both, one after the other").click()
    page.wait_for_function("document.querySelector('#player [data-lane=clip] audio').currentTime > 0.2")
    expect(page.locator("#player .status")).to_have_text("Now: the clip")
    page.wait_for_function("document.querySelector('#player [data-lane=track] audio').currentTime > 0.2")
    expect(page.get_by_role("button", name="Pause track")).to_have_attribute("aria-pressed", "true")
    assert sounding(page, "clip") == 0.0
    page.get_by_role("button", name="Stop").click()
    stopped = sounding(page, "track")
    page.wait_for_timeout(200)
    assert sounding(page, "track") == stopped


def test_play_from_the_most_influential_moment(open_page):
    page = open_page("?clip=1&track=1")
    audio = "document.querySelector('#player [data-lane=track] audio')"
    page.evaluate(f"{audio}.addEventListener('playing', (event) => {{ window.began = event.target.currentTime; }})")
    moment = page.evaluate(
        "document.querySelector('#player [data-lane=track] .below').textContent.match(/at (.*?)\\./)[1]"
    )
    page.locator("#player .jump").click()
    page.wait_for_function("window.began !== undefined")
    minutes, seconds = map(int, moment.split(":"))
    assert minutes * 60 + seconds <= page.evaluate("window.began") < minutes * 60 + seconds + 1.5
    expect(page.get_by_role("button", name="Pause track")).to_be_visible()


def test_another_track_while_the_clip_plays_leaves_it_playing(open_page):
    page = open_page("?clip=3")
    page.get_by_role("button", name="Play clip").click()
    page.wait_for_function("document.querySelector('#player [data-lane=clip] audio').currentTime > 0.1")
    page.get_by_test_id("cell-2-1").click()
    expect(page).to_have_url(re.compile("clip=3"))
    expect(page.get_by_role("button", name="Pause clip")).to_be_visible()


def test_a_track_chosen_meanwhile_takes_its_turn(open_page):
    page = open_page("?clip=3")
    page.get_by_role("button", name="Hear both, one after the other").click()
    page.wait_for_function("document.querySelector('#player [data-lane=clip] audio').currentTime > 0.1")
    page.get_by_test_id("cell-2-1").click()
    title = page.get_by_test_id("cell-2-1").inner_text().strip()
    expect(page.locator("#player [data-lane=track] .title")).to_have_text(title)
    page.wait_for_function("document.querySelector('#player [data-lane=track] audio').currentTime > 0.1")
    expect(page.locator("#player .status")).to_have_text("Now: the track")


def test_what_may_not_be_heard_says_so(open_page):
    page = open_page("?clip=1&track=5")
    expect(page.locator("#player [data-lane=track]")).to_contain_text("the rights holder does not allow listening")
    expect(page.get_by_role("button", name="Play track")).to_be_disabled()
    expect(page.get_by_role("button", name="Hear both")).to_be_disabled()


def test_a_missing_file_says_so(open_page):
    page = open_page("?clip=1&track=6")
    page.get_by_role("button", name="Play track").click()
    expect(page.locator("#player .status")).to_contain_text("its audio did not load")
    expect(page.get_by_role("button", name="Play track")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_fits_the_screen(open_page, tmp_path, scheme, width):
    page = open_page("?clip=1", viewport={"width": width, "height": 844}, color_scheme=scheme)
    for part in ("#player .lane:not([hidden])", "#curve .plot", "#table", "#verdict", "#link .copy"):
        box = page.locator(part).first.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width, part
    card = page.locator(".card").first.bounding_box()
    for lane in page.locator("#player .lane").all():
        box = lane.bounding_box()
        assert box["x"] + box["width"] <= card["x"] + card["width"]
    assert (page.locator("body.dark").count() == 1) == (scheme == "dark")
    assert page.screenshot(path=tmp_path / "page.png", full_page=True)

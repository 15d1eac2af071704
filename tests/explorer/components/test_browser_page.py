"""The address as the state of the page, and hostile data in all of its places."""

from __future__ import annotations

import re

import pytest

from support.browsing import choose, click_at, drag, expect, expect_lanes, expect_query, get, lane, press, title

pytestmark = pytest.mark.browser
NOISE_CLIP = "a machine humming, no melody at all"


def test_a_link_restores_clip_method_lanes_loop_and_table(open_page):
    query = "?clip=2&method=cosine&track=60&scores=raw&lanes=3,60,7&loop=0.50-1.20"
    query += "&find=no&in=Musopen&sort=title&decoys=1&down=1"
    page = open_page(query)
    expect(page.locator("#method input")).to_have_value("Gradient cosine")
    expect(page.locator("#clip input")).to_have_value(re.compile("Generated clip 2"))
    expect(page.get_by_label("raw scores")).to_be_checked()
    expect(page.get_by_label("show decoys")).to_be_checked()
    expect(page.get_by_label("Filter", exact=True)).to_have_value("no")
    expect(page.get_by_role("combobox", name="Collection")).to_have_value(":Musopen")
    expect(page.locator("#table th[aria-sort=descending]")).to_contain_text("title")
    expect_lanes(page, 3, 60, 7)
    expect(page.get_by_role("button", name="Clip ⇄ track 2")).to_be_enabled()
    expect(page.locator("#player .passage")).to_contain_text("Passage: 0:00.5 – 0:01.2")
    expect(page.get_by_label("loop")).to_be_checked()
    expect(lane(page, 60).locator(".chip")).to_have_text("decoy, never heard")
    assert sorted(page.url.split("?")[1].split("&")) == sorted(query[1:].split("&"))


def test_a_link_restores_span_start_loop_of_a_track_and_tab(open_page, made):
    query = "?clip=1&method=unlearning&track=20&span=1.00-1.50&start=moment&loop=20:0.50-1.25"
    page = open_page(query)
    expect(page.locator("#verdict")).to_contain_text("In 1.0–1.5 s: ")
    expect(page.get_by_label("at their most influential moment")).to_be_checked()
    assert get(page, "[player.passages().clip, player.passages()['20']]") == [[1.0, 1.5], [0.5, 1.25]]
    assert sorted(page.url.split("?")[1].split("&")) == sorted(query[1:].split("&"))
    page.goto(page.url + "&view=guide")
    expect(page.get_by_role("tab", name="How to read this")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#guide h2").first).to_be_visible()
    page.get_by_role("tab", name="Listen").click()
    expect(page.locator("#verdict")).to_contain_text("In 1.0–1.5 s: ")


def test_garbage_in_a_link_gives_the_default_view(open_page):
    page = open_page()
    home = page.url.split("?")[0]
    long = "9" * 400
    for query in (
        "clip=%3Cscript%3Ealert(1)%3C/script%3E&track=1&view=constructor",
        "clip=1e3&method=${alert(1)}&track=-7&loop=x&lanes=x&start=yesterday&scores={{value}}",
        f"clip=1&track={long}&span=2-1&loop=5-4&lanes=,,x,-3,99999&find={'a' * 300}&in=a&in=%00&from=7",
        f"clip=-1&track=%00&span=nan-inf&loop=1:1:1-2&sort=password&from={long}&view=%3Cimg%3E&decoys=yes",
    ):
        page.goto(f"{home}?{query}")
        page.wait_for_function("location.search === '?clip=1&method=unlearning&track=1'")
        expect_lanes(page, 1, 2, 4, 17)
        expect(page.locator("#table .count")).to_have_text("40 tracks")
    page.goto(f"{home}?clip=1&loop=900-901&find=%ED%A0%80&start=moment")  # well said, but nothing is there
    expect_lanes(page, 1, 2, 4, 17)
    expect(page.locator("#table .empty")).to_be_visible()
    assert get(page, "[player.region, transport.loop]") == [None, False]


def test_back_and_forward_walk_through_clips_methods_spans_and_tabs(open_page):
    page = open_page("?clip=1")
    choose(page, "clip", "Generated clip 3")
    expect_query(page, "clip=3")
    choose(page, "clip", "Generated clip 1")
    expect_query(page, "clip=1")
    drag(page, lane(page, "clip").locator(".wave"), 0.53, 0.72)
    expect_query(page, "span=1.00-1.50")
    choose(page, "method", "Gradient cosine")
    expect_query(page, "method=cosine", without=("span",))
    page.get_by_role("tab", name="All clips").click()
    expect_query(page, "view=clips")
    for check in (
        lambda: expect(page.get_by_role("tab", name="Listen")).to_have_attribute("aria-selected", "true"),
        lambda: expect(page.locator("#verdict")).to_contain_text("In 1.0–1.5 s"),
        lambda: expect(page.locator("#verdict")).not_to_contain_text("In 1.0–1.5 s"),
        lambda: expect(page.locator("#verdict")).to_contain_text("Nothing is above noise"),
    ):
        page.go_back()
        check()
    expect_query(page, "clip=3", "method=unlearning", without=("span", "view"))
    expect(lane(page, "clip").locator(".title")).to_have_text(NOISE_CLIP)
    page.go_back()
    expect_query(page, "clip=1")
    expect(page.locator("#verdict")).to_contain_text("4 of 18 candidates")
    expect(page.locator("#clip input")).to_have_value(re.compile("Generated clip 1"))
    for _ in range(3):
        page.go_forward()
    expect(page.locator("#verdict")).to_contain_text("In 1.0–1.5 s")
    expect_query(page, "clip=1", "span=1.00-1.50")
    page.go_forward()
    expect(page.locator("#method input")).to_have_value("Gradient cosine")
    page.go_forward()
    expect(page.get_by_role("tab", name="All clips")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#overview .card-of").first).to_be_visible()
    page.locator("#overview .made .card-of").nth(1).click()
    expect_query(page, "clip=2", "method=cosine")
    page.go_back()
    expect_query(page, "clip=1", "method=cosine", "view=clips")


def test_after_back_the_player_is_as_it_was(open_page):
    page = open_page("?clip=1")
    drag(page, lane(page, "clip").locator(".wave"), 0.53, 0.72)
    expect(page.locator("#verdict")).to_contain_text("In 1.0–1.5 s")
    page.go_back()
    expect(page.locator("#verdict")).not_to_contain_text("In 1.0–1.5 s")
    expect(page.get_by_label("on the same clock")).to_be_checked()
    expect_query(page, "clip=1", without=("span", "start", "loop"))
    assert get(page, "[player.region, player.passages().clip]") == [None, [0, 2]]
    expect(page.locator("#player .clear")).to_be_hidden()
    press(page, "1")  # the link is written: what the address says is what a copy of it gives
    expect_query(page, "clip=1", "track=1", without=("span", "start", "loop"))


def test_a_link_copied_is_the_address(open_page):
    page = open_page("?clip=2", permissions=["clipboard-read", "clipboard-write"])
    drag(page, lane(page, 3).locator(".wave"), 0.25, 0.5)
    expect_query(page, "clip=2", "track=3")
    assert "loop=" in page.url
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Link copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_hostile_texts_are_text_everywhere(open_page, made):
    page = open_page("?clip=1&lanes=1,2,3,4")
    for digit, text in enumerate(made.HOSTILE, 1):
        expect(lane(page, digit).locator(".title")).to_have_text(text)
        expect(title(page, digit)).to_have_text(text)
        press(page, str(digit))
        expect(page.locator("#player .status")).to_contain_text(text)
        expect(page.locator("#curve .readout")).to_contain_text(text)
    expect(lane(page, 2).locator(".note")).to_contain_text("<b>Bold</b> ${1+1}")
    page.get_by_role("combobox", name="Collection").select_option(":" + made.HOSTILE_COLLECTION)
    expect(page.locator("#table .count")).to_contain_text("that match")
    page.get_by_label("Filter", exact=True).fill("<b>${alert(1)}</b>")
    expect(page.locator("#table .empty")).to_be_visible()
    choose(page, "clip", "Generated clip 2")
    expect(lane(page, "clip").locator(".title")).to_contain_text("<img src=x onerror=alert(1)> ${alert(1)}")
    choose(page, "clip", "Control 101")
    expect(page.locator("#verdict")).to_contain_text(f"“{made.HOSTILE[0]}”")
    page.get_by_role("button", name="What this run found").click()
    expect(page.locator("#findings")).to_contain_text("share of decoys")
    page.get_by_role("tab", name="All clips").click()
    expect(page.locator("#overview .made .card-of").nth(1)).to_contain_text('${alert(1)} "quoted" & brass band')
    assert page.locator("img[src=x], #table b, #player b, script:text('alert(3)')").count() == 0


def test_fast_steps_back_and_forward_end_where_the_address_says(open_page):
    page = open_page("?clip=1")
    for clip in (2, 3, 1):
        choose(page, "clip", f"Generated clip {clip}")
        expect_query(page, f"clip={clip}")
    go = """(step) => new Promise((done) => {
      addEventListener("popstate", done, { once: true });
      history.go(step);
    })"""
    back, on = -1, 1
    walks = ([back] * 3, 1, "waltz"), ([on] * 2, 3, NOISE_CLIP), ([back, on, on, back, back], 2, "brass band")
    for steps, clip, words in walks:
        for step in steps:
            page.evaluate(go, step)
        expect(lane(page, "clip").locator(".title")).to_contain_text(words)
        expect_query(page, f"clip={clip}")
        expect(page.locator("#clip input")).to_have_value(re.compile(f"Generated clip {clip}"))
    assert page.evaluate("history.length") == 5  # about:blank and four steps: none was lost, none was added


def test_a_step_back_brings_loops_back_as_they_were(open_page):
    page = open_page("?clip=1")
    drag(page, lane(page, 2).locator(".wave"), 0.25, 0.5)
    assert "loop=" in page.url
    title(page, 25).click()
    expect_lanes(page, 1, 2, 4, 17, 25)
    press(page, "Escape")
    assert "loop=" not in page.url
    page.go_back()
    expect_lanes(page, 1, 2, 4, 17)
    assert get(page, "player.region[0]") == pytest.approx(1, abs=0.03)
    page.go_forward()
    expect_lanes(page, 1, 2, 4, 17, 25)
    assert get(page, "player.region") is None


def test_events_in_quick_succession_end_with_the_last(open_page):
    page = open_page("?clip=1")
    for track_id in (25, 29):  # the second while the first is unanswered
        title(page, track_id).click()
    expect_lanes(page, 1, 2, 4, 17, 25, 29)
    expect_query(page, "track=29")
    page.get_by_label("Filter", exact=True).press_sequentially("nocturne", delay=120)  # longer than it waits
    expect_query(page, "find=nocturne")
    expect(page.locator("#table .count")).to_contain_text("that match")


def test_two_pages_do_not_share_a_view(open_page):
    first, second = open_page("?clip=1"), open_page("?clip=3")
    drag(first, lane(first, 2).locator(".wave"), 0.25, 0.5)
    click_at(lane(second, "clip").locator(".wave"), 0.5)
    expect(lane(second, "clip").locator(".title")).to_have_text(NOISE_CLIP)
    assert get(second, "player.region") is None
    expect(lane(first, "clip").locator(".title")).to_contain_text("waltz")

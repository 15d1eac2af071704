"""Table, curve, overview and spans as a listener uses them: each is a way to find a track or a clip, and to hear it."""

from __future__ import annotations

import re

import pytest

from support.browsing import (
    choose,
    drag,
    expect,
    expect_lanes,
    expect_query,
    get,
    hears,
    lane,
    press,
    row,
    title,
    titles,
    until,
    until_first,
)

pytestmark = pytest.mark.browser


def test_a_span_of_the_clip_ranks_tracks_anew_and_clear_brings_all_back(open_page, made):
    page = open_page()
    before = titles(page)
    own = str(made.SPAN_TRACK)
    drag(page, lane(page, "clip").locator(".wave"), 0.53, 0.72)  # the third of four windows of 0.5 s
    expect(page.locator("#verdict")).to_contain_text("In 1.0–1.5 s: ")
    expect(page.locator("#table tbody tr").first).to_have_attribute("data-track", own)
    assert page.locator("#player .lane").nth(1).get_attribute("data-lane") == own
    expect(page.locator("#curve .readout")).to_contain_text("Place 1 of 40")
    expect(page.locator("#curve .readout")).to_contain_text(titles(page)[0])
    expect(page.locator("#player .passage")).to_contain_text("Span of the clip: 0:01.0 – 0:01.5")
    expect(lane(page, own).locator(".place")).to_contain_text("place 1 of 40 in this span · q ")
    expect(page.locator("#order")).to_be_hidden()  # a span has one order
    expect_query(page, "span=1.00-1.50", f"track={own}", "start=moment")
    # Both passages, again and again: the span of the clip, and the moment of the track.
    page.get_by_role("button", name="Clip ⇄ track 1").click()
    until(page, "transport.pair && transport.playing")
    assert get(page, "player.passages().clip") == [1.0, 1.5]
    from_s, to_s = get(page, f"player.passages()['{own}']")
    assert to_s - from_s == pytest.approx(0.5)
    assert from_s == made.SPAN_MOMENT_S
    for key in ("clip", own, "clip"):
        until(page, f"transport.sounding === '{key}'")
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator("#verdict")).not_to_contain_text("In 1.0–1.5 s")
    expect_lanes(page, 1, 2, 4, 17)
    until_first(page, before[0])
    assert titles(page) == before
    expect(page.locator("#order")).to_be_visible()
    expect_query(page, without=("span",))


def test_a_click_outside_of_the_span_gives_it_up(open_page):
    page = open_page("?clip=1&span=1-1.5")
    expect(page.locator("#verdict")).to_contain_text("In 1.0–1.5 s: ")
    assert get(page, "player.region") == [1.0, 1.5]
    press(page, "ArrowRight")  # 1.0 + 1 s: beyond the span
    expect(page.locator("#verdict")).not_to_contain_text("In 1.0–1.5 s")
    expect_query(page, without=("span",))


def test_the_table_filters_while_somebody_types(open_page):
    page = open_page()
    field = page.get_by_label("Filter", exact=True)
    field.focus()
    page.keyboard.type("noct", delay=30)
    expect(page.locator("#table .count")).to_contain_text("that match, of 40 tracks")
    expect(field).to_be_focused()
    page.keyboard.type("urne", delay=30)
    expect(field).to_have_value("nocturne")
    expect_query(page, "find=nocturne")
    assert all("Nocturne" in name for name in titles(page))
    field.fill("etude")  # accents and case apart
    expect_query(page, "find=etude")
    expect(page.locator("#table tbody tr").first).to_contain_text("Étude")
    field.fill("no such thing")
    expect(page.locator("#table .empty")).to_contain_text("No track matches")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("#table .count")).to_have_text("40 tracks")
    expect(field).to_be_focused()
    page.get_by_role("combobox", name="Collection").select_option("Musopen")
    expect_query(page, "in=Musopen")
    expect(page.locator("#table .count")).to_contain_text("13 that match, of 40")
    page.get_by_label("only above noise").check()
    expect(page.locator("#table .count")).to_have_text("2 that match, of 40 tracks")
    assert page.locator("#table tbody tr.above").count() == 2
    choose(page, "clip", "Generated clip 3")  # the filters stay
    expect(page.locator("#table .empty")).to_be_visible()
    expect_query(page, "clip=3", "in=Musopen", "above=1")


def test_the_table_sorts_by_its_headings_and_pages(open_page):
    page = open_page()
    page.get_by_role("button", name="Sort by title").click()
    expect_query(page, "sort=title")
    expect(page.locator("#table th[aria-sort=ascending]")).to_contain_text("title")
    upward = titles(page)
    assert upward.index("Ballade No. 21 in A minor") < upward.index("Waltz No. 16 in C minor")
    page.get_by_role("button", name="Sort by title").click()
    expect(page.locator("#table th[aria-sort=descending]")).to_contain_text("title")
    until_first(page, upward[-1])
    assert titles(page) == upward[::-1]
    waltz = page.locator("#table tbody tr", has_text="Waltz No. 16")
    waltz.locator("[data-key^='title ']").click()  # a row of the sorted table is still that track
    expect_query(page, "track=16", "sort=title", "down=1")
    expect_lanes(page, 1, 2, 4, 17, 16)
    expect(row(page, 16)).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Sort by place").click()
    expect(page.locator("#table tbody tr").first).to_have_attribute("data-track", "1")


def test_pages_of_a_long_table(open_page, monkeypatch):
    for module in ("explorer.state.queries", "explorer.listen.table"):
        monkeypatch.setattr(f"{module}.TABLE_ROWS", 30)
    page = open_page("?find=no")  # every title has a number
    expect(page.locator("#table .count")).to_contain_text("1–30 of")
    first = titles(page)
    assert len(first) == 30
    expect(page.locator("#table .back")).to_be_disabled()
    page.locator("#table .on").click()
    expect_query(page, "from=30", "find=no")
    expect(page.locator("#table .on")).to_be_disabled()
    assert 0 < len(titles(page)) <= 10 and not set(first) & set(titles(page))
    page.reload()
    expect(page.locator("#table .count")).to_contain_text("31–")
    page.locator("#table .back").click()
    expect_query(page, without=("from",))
    assert titles(page) == first


def test_decoys_are_shown_on_request_and_marked(open_page):
    page = open_page()
    assert page.locator("#table tbody tr.decoy").count() == 0
    page.get_by_label("show decoys").check()
    expect(page.locator("#table .count")).to_have_text("80 tracks and decoys")
    decoys = page.locator("#table tbody tr.decoy")
    expect(decoys).to_have_count(40)
    expect(decoys.first).to_contain_text("decoy, never heard")
    assert re.search(r"^\(\d+\)$", decoys.first.locator("td.place").inner_text().strip())
    track_id = decoys.first.get_attribute("data-track")
    title(page, int(track_id)).click()
    expect(lane(page, track_id).locator(".chip")).to_have_text("decoy, never heard")
    expect(lane(page, track_id).locator(".place")).to_have_text(re.compile(r"^would be place \d+(–\d+)? of 40$"))
    page.get_by_label("raw scores").check()
    expect_query(page, "scores=raw", "decoys=1")
    expect(page.locator("#table tbody tr").first).to_have_class(re.compile("decoy|above|noise"))
    expect(page.locator("#summary")).to_contain_text("were never heard by the model")


def test_a_row_plays_its_track_and_pauses_it(open_page, made):
    page = open_page("?clip=3")
    first = int(page.locator("#table tbody tr").nth(6).get_attribute("data-track"))
    name = titles(page)[6]
    page.get_by_role("button", name=f"Play {name}", exact=True).click()
    until(page, f"transport.playing && transport.sounding === '{first}'")
    hears(page, first)
    expect_query(page, f"track={first}")
    page.get_by_role("button", name=f"Pause {name}", exact=True).click()
    until(page, "!transport.playing")
    expect(page.get_by_role("button", name=f"Play {name}", exact=True)).to_be_visible()
    silent = row(page, made.FORBIDDEN).get_by_role("button", name=re.compile("^Cannot play"))
    expect(silent).to_have_attribute("aria-disabled", "true")
    expect(row(page, made.FORBIDDEN)).to_contain_text("the rights holder does not allow listening")
    silent.click(force=True)
    assert not get(page, "transport.playing || transport.waiting")
    assert str(made.FORBIDDEN) not in get(page, "[...transport.lanes.keys()]")


def test_a_row_is_chosen_without_playing(open_page):
    page = open_page()
    row(page, 25).locator("td.badge").click()
    expect_lanes(page, 1, 2, 4, 17, 25)
    expect(row(page, 25)).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("button", name="Clip ⇄ track 5")).to_be_enabled()
    expect(page.locator("#curve .readout")).to_contain_text("Place 8 of 40")
    assert not get(page, "transport.playing || transport.waiting")
    page.locator("#table .play").first.focus()
    press(page, "ArrowDown")
    expect(page.locator("#table .play").nth(1)).to_be_focused()


def test_every_place_of_the_curve_by_keys(open_page):
    page = open_page()
    plot = page.locator("#curve .plot")
    plot.focus()
    press(page, "ArrowRight", "ArrowRight", "Enter")
    expect(page.locator("#curve .readout")).to_contain_text("Place 3 of 40")
    expect_query(page, "track=4")
    expect(plot).to_be_focused()
    press(page, "End", "PageUp", *["ArrowRight"] * 7)
    expect(page.locator("#curve .readout")).to_contain_text("Place 37 of 40")
    expect(plot).to_have_attribute("aria-valuenow", "37")
    press(page, "Enter")
    placed = int(page.locator("#table tbody tr").nth(36).get_attribute("data-track"))
    expect_lanes(page, 1, 2, 4, 17, placed)
    expect_query(page, f"track={placed}")
    press(page, "Home", "d", "Enter")
    expect(page.locator("#curve .readout")).to_contain_text("Decoy 1 of 40")
    expect(page.locator("#player .lane").nth(6).locator(".chip")).to_have_text("decoy, never heard")
    assert not get(page, "transport.playing")


def test_every_place_of_the_curve_by_mouse_and_by_number(open_page):
    page = open_page()
    plot = page.locator("#curve .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    # The axis is logarithmic from place 1 to 40 between two known marks: the places 1 and 4 of the lanes' rings.
    rings = page.locator("#curve .plot circle.lane").evaluate_all("(all) => all.map((ring) => ring.cx.baseVal.value)")
    unit = (rings[3] - rings[0]) / 0.60206  # px per decade
    page.mouse.click(box["x"] + rings[0] + unit * 1.5682, box["y"] + 30)  # log10 of 37
    expect(page.locator("#curve .readout")).to_contain_text("Place 37 of 40")
    placed = int(page.locator("#table tbody tr").nth(36).get_attribute("data-track"))
    expect_lanes(page, 1, 2, 4, 17, placed)
    page.get_by_role("spinbutton", name="place").fill("12")
    press(page, "Enter")
    expect(page.locator("#curve .readout")).to_contain_text("Place 12 of 40")
    twelfth = int(page.locator("#table tbody tr").nth(11).get_attribute("data-track"))
    expect_query(page, f"track={twelfth}")
    page.locator("#curve .next").click()
    page.locator("#curve .next").click()
    expect(page.locator("#curve .readout")).to_contain_text("Place 14 of 40")
    assert f"track={twelfth}" in page.url  # steps move the marker, they choose nothing
    page.get_by_role("button", name="Place 14 into the player").click()
    fourteenth = int(page.locator("#table tbody tr").nth(13).get_attribute("data-track"))
    expect_query(page, f"track={fourteenth}")
    page.get_by_role("spinbutton", name="place").fill("4000")
    expect(page.locator("#curve .readout")).to_contain_text("Place 40 of 40")
    press(page, "Enter")
    expect(page.get_by_role("spinbutton", name="place")).to_have_value("40")


def test_a_click_on_the_curve_means_what_the_mode_says(open_page):
    page = open_page()
    plot, readout = page.locator("#curve .plot"), page.locator("#curve .readout strong")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    x, top = box["x"] + box["width"] / 2, box["y"] + 30  # far above every mark
    page.evaluate("() => { window.told = 0; addEventListener('whence:focus', () => { window.told += 1; }); }")
    page.mouse.click(x, top)
    expect(readout).to_contain_text("Place")
    page.wait_for_function("() => window.told > 0")  # the page has answered the first pick
    page.get_by_role("button", name="decoys", exact=True).click()
    page.mouse.click(x, top)
    expect(readout).to_contain_text("Decoy")
    expect(page.locator("#player .lane").last.locator(".chip")).to_have_text("decoy, never heard")
    # The mode changes before the page has answered the pick: the answer must not move the slider back.
    page.evaluate(
        """([x, y]) => {
            window.told = 0;
            addEventListener("whence:focus", () => { window.told += 1; });
            const plot = document.querySelector("#curve .plot");
            plot.dispatchEvent(new MouseEvent("click", { clientX: x, clientY: y, bubbles: true }));
            document.querySelector("#curve .kinds [data-decoy=false]").click();
        }""",
        [x + 60, top],
    )
    page.wait_for_function("() => window.told > 0")
    expect(readout).to_contain_text("Place")


def test_the_overview_filters_sorts_and_opens_a_clip(open_page):
    page = open_page()
    page.get_by_role("tab", name="All clips").click()
    expect_query(page, "view=clips")
    cards = page.locator("#overview .made .card-of")
    expect(cards).to_have_count(3)
    expect(cards.first).to_contain_text(re.compile("4 of 18 candidates"))
    expect(cards.first).to_have_attribute("aria-current", "true")
    expect(cards.nth(2)).to_contain_text("nothing above noise")
    page.get_by_label("Filter clips").fill("machine")
    expect(cards).to_have_count(1)
    page.get_by_label("Filter clips").fill("nothing like it")
    page.get_by_role("button", name="Clear the filter").click()
    expect(cards).to_have_count(3)
    page.get_by_label("Sort clips by").select_option("above")
    assert cards.evaluate_all("(all) => all.map((one) => one.dataset.clip)") == ["1", "2", "3"]
    cards.nth(2).click()
    expect_query(page, "clip=3", without=("view",))
    expect(page.get_by_role("tab", name="Listen")).to_have_attribute("aria-selected", "true")
    expect(lane(page, "clip").locator(".title")).to_have_text("a machine humming, no melody at all")
    expect(page.locator("#verdict")).to_contain_text("Nothing is above noise")
    page.get_by_role("tab", name="All clips").click()
    page.locator("#overview .controls summary").click()
    page.locator("#overview .known .card-of").first.click()
    expect_query(page, "clip=101")
    expect(page.locator("#verdict")).to_contain_text("should find itself first")
    expect(lane(page, "clip").locator(".title")).to_have_text("<img src=x onerror=alert(1)>")
    expect(lane(page, "clip").locator(".note")).to_contain_text("control")


def test_another_method_and_another_clip_change_all_parts(open_page):
    page = open_page()
    rows = page.locator("#table tbody")
    before = rows.inner_text()
    choose(page, "method", "Gradient cosine")
    expect_query(page, "method=cosine", "clip=1")
    expect(rows).not_to_have_text(before, use_inner_text=True)
    page.get_by_label("raw scores").check()
    expect_query(page, "scores=raw")
    expect(page.locator("#curve .plot")).to_contain_text("raw influence score")
    choose(page, "clip", "Generated clip 3")
    expect_query(page, "clip=3", "method=cosine", "scores=raw")
    expect(page.locator("#verdict")).to_contain_text("Nothing is above noise")
    expect(page.locator("#about")).to_contain_text("What this run found about itself")


def test_the_guide_says_how_to_read_it_and_what_it_cannot_tell(open_page):
    page = open_page()
    page.get_by_role("tab", name="How to read this").click()
    for heading in ("How to read this", "What this cannot tell", "Words"):
        expect(page.locator("#guide").get_by_role("heading", name=heading)).to_be_visible()
    expect_query(page, "view=guide")
    press(page, " ", "x")  # the player is not on show: its keys do nothing
    assert not get(page, "transport.playing || transport.waiting")


@pytest.mark.parametrize("width", [1400, 390])
def test_two_claims_stand_in_two_columns(open_page, width):
    """Whatever the width, each says which question it answers, and the table does not run over its edge."""
    page = open_page("?clip=1", viewport={"width": width, "height": 900})
    first = row(page, 1)
    expect(first.locator("td.badge")).to_have_attribute("data-label", "shaped this clip?")
    expect(first.locator("td.model")).to_have_attribute("data-label", "shaped the model?")
    expect(row(page, 17).locator("td.badge")).to_have_text("above noise")
    expect(row(page, 17).locator("td.model")).to_have_text("not distinguishable from noise")
    expect(row(page, 30).locator("td.badge")).to_have_text("not tested")
    expect(row(page, 30).locator("td.model")).to_have_text("above noise")
    if width > 900:
        expect(page.locator("#table th.badge")).to_have_text("shaped this clip?")
        expect(page.locator("#table th.model")).to_have_text("shaped the model?")
    else:
        label = "getComputedStyle(document.querySelector('#table td.model'), '::before').content"
        assert "data-label" in page.evaluate(label) or "shaped the model?" in page.evaluate(label)
    scroll = page.locator("#table .scroll")
    assert scroll.evaluate("part => part.scrollWidth - part.clientWidth") <= 0

"""The lanes of the player: their pictures, what cannot be heard, tracks that come and go."""

from __future__ import annotations

import pytest

from support.browsing import choose, click_at, expect, expect_lanes, get, hears, lane, pixels, press, title, until

pytestmark = pytest.mark.browser


def test_the_spectrogram_and_the_zoom_change_the_picture(open_page):
    page = open_page()
    canvas = lane(page, 2).locator(".wave canvas")
    waveform = pixels(canvas)
    page.get_by_label("spectrogram").check()
    until(page, "[...player.views.values()].every((view) => view.image?.naturalWidth > 100)")
    expect(page.locator("#player .lanes")).to_be_visible()
    colours = """(canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    }"""
    until(page, f"({colours})(player.views.get('2').canvas) > 30")  # a picture, not bars of one colour
    spectrum = pixels(canvas)
    page.get_by_role("button", name="Zoom in").click()
    assert pixels(canvas) not in (spectrum, waveform)
    page.get_by_label("spectrogram").uncheck()
    zoomed = pixels(canvas)
    assert zoomed not in (waveform, spectrum)
    page.get_by_role("button", name="Zoom out").click()
    page.wait_for_function("document.querySelector('#player .zoom output').textContent === '1×'")


def test_a_zoomed_waveform_follows_the_sound_and_clicks_count_in_it(open_page):
    page = open_page()
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    wave = lane(page, 2).locator(".wave")
    click_at(wave, 0.5)  # a quarter is shown: half of it is 0.5 s
    assert get(page, "transport.offset") == pytest.approx(0.5, abs=0.02)
    wave.focus()
    press(page, "ArrowRight", "ArrowRight")
    head = lane(page, 2).locator(".playhead").bounding_box()
    box = wave.bounding_box()
    assert box["x"] <= head["x"] <= box["x"] + box["width"]
    from_part, to_part = get(page, "player.views.get('2').view")
    assert from_part <= 2.5 / 4 <= to_part


def test_a_lane_that_cannot_be_heard_says_why(open_page, made):
    reasons = {
        made.FORBIDDEN: "the rights holder does not allow listening",
        made.MISSING: "the audio file is missing",
        made.PATHLESS: "its audio is not part of this copy",
        made.ESCAPING: "the audio file lies outside its folder",
        made.LINKED: "the audio file lies outside its folder",
    }
    page = open_page(f"?clip=1&lanes={','.join(map(str, reasons))},1&track={made.FORBIDDEN}")
    for digit, (track_id, reason) in enumerate(reasons.items(), 1):
        silent = lane(page, track_id)
        expect(silent.locator(".why")).to_have_text(f"Cannot be played: {reason}.")
        expect(silent.locator(".listen")).to_be_disabled()
        press(page, str(digit))
        click_at(silent.locator(".wave"), 0.5)
        hears(page, "clip")
    expect(page.get_by_role("button", name="Clip ⇄ track 1")).to_be_disabled()
    page.get_by_label("spectrogram").check()  # asks for no picture of these: that would be a fault
    press(page, "6", " ")
    until(page, "transport.playing")
    expect(page.get_by_role("button", name="Clip ⇄ track 6")).to_be_enabled()
    hears(page, 1)


def test_a_file_that_cannot_be_decoded_greys_its_lane_when_it_was_tried(open_page, made):
    page = open_page(f"?clip=1&lanes=1,{made.BROKEN}", may_fail=(f"/audio/track/{made.BROKEN}",))
    press(page, "2", " ")
    expect(lane(page, made.BROKEN).locator(".why")).to_have_text("Cannot be played: the audio file cannot be decoded.")
    until(page, "!transport.playing && !transport.waiting")
    press(page, "1", " ")
    until(page, "transport.playing")
    hears(page, 1)


def test_an_excerpt_is_all_that_is_sent(open_page, made):
    page = open_page("?clip=1")
    expect(lane(page, made.EXCERPT).locator(".note")).to_contain_text("the first 15 s of 20 s")
    press(page, "3", " ")
    until(page, f"transport.lanes.get('{made.EXCERPT}').buffer")
    assert get(page, f"transport.lanes.get('{made.EXCERPT}').buffer.duration") == pytest.approx(15.0, abs=1e-3)
    expect(lane(page, made.EXCERPT).locator(".clock")).to_contain_text("/ 0:15.0")


def test_tracks_leave_the_player_and_a_ninth_takes_the_place_of_the_last(open_page):
    page = open_page()
    page.get_by_role("button", name="Take track 2 out of the player").click()
    expect_lanes(page, 1, 4, 17)
    assert "lanes=1,4,17" in page.url
    for count, track_id in enumerate((25, 29, 26, 22, 30), 4):
        title(page, track_id).click()
        expect(page.locator("#player .lane")).to_have_count(count + 1)
    expect_lanes(page, 1, 4, 17, 25, 29, 26, 22, 30)
    title(page, 2).click()
    expect_lanes(page, 1, 4, 17, 25, 29, 26, 22, 2)
    press(page, "8")
    hears(page, 2)


def test_all_tracks_can_be_taken_out(open_page):
    page = open_page("?clip=1&lanes=1")
    page.get_by_role("button", name="Take track 1 out of the player").click()
    expect_lanes(page)
    expect(page.get_by_role("button", name="Clip ⇄ track")).to_be_disabled()
    press(page, "x", " ")
    until(page, "transport.playing")
    hears(page, "clip")


def test_what_plays_goes_on_when_a_track_joins_or_leaves(open_page):
    page = open_page()
    page.get_by_label("loop").check()
    press(page, "2", " ")
    until(page, "transport.playing && transport.round().voices.has(transport.lanes.get('2'))")
    get(page, "(window.sounds = transport.lanes.get('2')).key")
    rounds = "transport.lanes.get('2') === window.sounds && transport.round().voices.has(window.sounds)"
    title(page, 25).click()
    expect_lanes(page, 1, 2, 4, 17, 25)
    assert get(page, f"transport.playing && {rounds}")
    page.get_by_role("button", name="Take track 1 out of the player").click()
    expect_lanes(page, 2, 4, 17, 25)
    assert get(page, f"transport.playing && {rounds}")
    hears(page, 2)
    page.get_by_role("button", name="Take track 1 out of the player").click()  # that is track 2 now, which sounds
    expect_lanes(page, 4, 17, 25)
    hears(page, "clip")
    assert get(page, "transport.playing")


def test_another_clip_chosen_while_one_plays_is_heard_at_once(open_page):
    page = open_page("?clip=1")
    page.get_by_label("loop").check()
    press(page, " ")
    until(page, "transport.playing")
    choose(page, "clip", "Generated clip 3")
    until(page, "transport.lanes.get('clip').url === '/audio/clip/3' && transport.lanes.get('clip').buffer")
    until(page, "transport.playing && transport.round().voices.has(transport.lanes.get('clip'))")
    assert get(page, "transport.lanes.get('clip').to") == 3.0
    hears(page, "clip")

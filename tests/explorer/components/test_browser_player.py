"""The player as a listener uses it: buttons, keys, waveforms. What it sounds like is in test_browser_transport.py."""

from __future__ import annotations

import pytest

from support.browsing import click_at, drag, expect, expect_lanes, get, hears, lane, press, title, until

pytestmark = pytest.mark.browser
# Clip 1 lasts 2.0 s; its strongest tracks are 1, 2, 4 and 17, of 3, 4, 15 (an excerpt) and 4 s.


def test_play_switch_and_pause_by_buttons(open_page):
    page = open_page()
    play = page.get_by_role("button", name="Play", exact=True)
    hears(page, "clip")
    page.get_by_label("loop").check()
    play.click()
    expect(page.get_by_role("button", name="Pause", exact=True)).to_have_attribute("aria-pressed", "true")
    until(page, "transport.offset > 0.2")
    page.get_by_role("button", name="Listen to track 2, ${alert(1)}").click()
    hears(page, 2)
    expect(page.locator("#player .status")).to_have_text("Listening to track 2: ${alert(1)}.")
    assert get(page, "transport.playing && transport.offset > 0.2")  # on the same clock
    until(page, "[...transport.lanes.values()].every((lane) => lane.buffer)")
    until(page, "transport.round().voices.size === 5")  # all run, so that a switch need not wait
    page.get_by_role("button", name="Listen to the clip").click()
    expect(page.locator("#player .status")).to_have_text("Listening to the clip.")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(play).to_have_attribute("aria-pressed", "false")
    at = get(page, "transport.offset")
    assert at > 0.2 and get(page, "transport.rounds.length") == 0
    play.click()
    assert get(page, "transport.offset") >= at


def test_keys_play_and_switch(open_page):
    page = open_page()
    press(page, "l", " ")
    until(page, "transport.playing && transport.loop")
    for key, heard in (("2", 2), ("4", 17), ("0", "clip"), ("1", 1), ("c", "clip"), ("3", 4), ("C", "clip")):
        press(page, key)
        hears(page, heard)
    press(page, "8")  # there is no eighth track
    hears(page, "clip")
    press(page, "1", "x")
    expect(page.get_by_role("button", name="Clip ⇄ track 1")).to_have_attribute("aria-pressed", "true")
    assert get(page, "transport.pair") == ["clip", "1"]
    until(page, "transport.sounding === 'clip'")
    until(page, "transport.sounding === '1'")
    hears(page, 1)
    press(page, "x")
    assert get(page, "transport.pair") is None
    press(page, " ")
    until(page, "!transport.playing")


def test_keys_move_within_a_lane(open_page):
    page = open_page()
    press(page, "2", "ArrowRight")
    assert get(page, "transport.offset") == pytest.approx(1)
    expect(page.locator("#player .bar > .clock")).to_have_text("0:01.0")
    press(page, "ArrowRight", "ArrowRight", "ArrowLeft")
    assert get(page, "transport.offset") == pytest.approx(2)
    press(page, "Home")
    assert get(page, "transport.offset") == 0
    press(page, "ArrowLeft")
    assert get(page, "transport.offset") == 0
    wave = lane(page, 2).locator(".wave")
    wave.focus()
    press(page, "ArrowRight")
    expect(wave).to_have_attribute("aria-valuenow", "1.0")
    expect(wave).to_have_attribute("aria-valuetext", "1.0 of 4.0 seconds")
    lane(page, 17).locator(".wave").focus()
    press(page, "Enter")
    hears(page, 17)


def test_keys_loop_a_passage_and_clear_it(open_page):
    page = open_page()
    press(page, "2", "ArrowRight", "[")
    expect(page.locator("#player .status")).to_contain_text("The passage begins at 0:01.0")
    assert get(page, "player.passages()['2']") == [0, 4]  # one end does not make a passage
    press(page, "ArrowRight", "]")
    expect(page.get_by_label("loop")).to_be_checked()
    assert get(page, "player.passages()['2']") == [1, 2]
    expect(page.locator("#player .passage")).to_contain_text("Passage: 0:01.0 – 0:02.0")
    assert "loop=1.00-2.00" in page.url
    press(page, "l")
    expect(page.get_by_label("loop")).not_to_be_checked()
    press(page, "l", "Escape")
    expect(page.get_by_label("loop")).not_to_be_checked()
    expect(page.locator("#player .clear")).to_be_hidden()
    assert get(page, "player.region") is None
    assert "loop=" not in page.url


def test_other_keys(open_page):
    page = open_page()
    press(page, "s")
    expect(page.get_by_label("at their most influential moment")).to_be_checked()
    press(page, "S")
    expect(page.get_by_label("on the same clock")).to_be_checked()
    press(page, "m")
    expect(page.get_by_label("match loudness")).not_to_be_checked()
    press(page, "g")
    expect(page.get_by_label("spectrogram")).to_be_checked()
    press(page, "g", "+", "=")
    expect(page.locator("#player .zoom output")).to_have_text("4×")
    press(page, "-", "-", "-")
    expect(page.locator("#player .zoom output")).to_have_text("1×")


def test_the_list_of_keys_opens_closes_and_gives_the_focus_back(open_page):
    page = open_page()
    keys = page.get_by_role("dialog", name="Keys")
    page.locator("#player .play").focus()
    press(page, "?")
    expect(keys).to_be_visible()
    expect(keys).to_contain_text("clip and track back to back")
    press(page, "x", "2")  # the page behind it does not listen
    assert get(page, "transport.pair") is None
    hears(page, "clip")
    press(page, "Escape")
    expect(keys).to_be_hidden()
    expect(page.locator("#player .play")).to_be_focused()
    page.locator("#player .help").click()
    page.get_by_role("button", name="Close").click()
    expect(keys).to_be_hidden()
    expect(page.locator("#player .help")).to_be_focused()
    page.locator("#player .help").click()
    page.mouse.click(5, 5)
    expect(keys).to_be_hidden()


def test_keys_are_letters_while_somebody_types(open_page):
    page = open_page()
    page.get_by_label("Filter", exact=True).fill("")
    page.keyboard.type("x 2 [?")
    expect(page.get_by_label("Filter", exact=True)).to_have_value("x 2 [?")
    page.locator("#clip input").click()
    page.keyboard.type("c 3")
    page.get_by_label("place", exact=True).focus()
    page.keyboard.type("3")
    page.get_by_role("combobox", name="Collection").focus()
    press(page, "m")
    assert not get(page, "transport.playing || transport.waiting || transport.pair")
    hears(page, "clip")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    expect(page.get_by_label("match loudness")).to_be_checked()


def test_space_presses_the_control_that_keys_went_to(open_page):
    page = open_page()
    for control in ("match loudness", "loop", "only above noise"):
        box = page.get_by_label(control)
        was = box.is_checked()
        box.focus()
        press(page, " ")
        expect(box).to_be_checked(checked=not was)
    page.get_by_label("at their most influential moment").focus()
    press(page, " ")
    expect(page.get_by_label("at their most influential moment")).to_be_checked()
    page.get_by_role("button", name="Zoom in").focus()
    press(page, " ")
    expect(page.locator("#player .zoom output")).to_have_text("2×")
    assert not get(page, "transport.playing || transport.waiting")
    page.get_by_role("button", name="Listen to track 1").focus()
    press(page, " ")  # a lane's button is where a listener's focus is: Space plays there
    until(page, "transport.playing")
    hears(page, "clip")


def test_space_plays_after_a_click_on_a_box(open_page):
    page = open_page()
    page.get_by_label("loop").click()
    press(page, " ")
    until(page, "transport.playing")
    expect(page.get_by_label("loop")).to_be_checked()
    press(page, "Tab", "Shift+Tab", " ")  # keys came here: now it is the box
    expect(page.get_by_label("loop")).not_to_be_checked()


def test_a_click_on_a_waveform_seeks_there(open_page):
    page = open_page()
    click_at(lane(page, 2).locator(".wave"), 0.75)
    hears(page, 2)
    assert get(page, "transport.offset") == pytest.approx(3.0, abs=0.03)
    click_at(lane(page, "clip").locator(".wave"), 0.5)
    hears(page, "clip")
    assert get(page, "transport.offset") == pytest.approx(1.0, abs=0.02)
    press(page, " ")
    until(page, "transport.playing")
    click_at(lane(page, "clip").locator(".wave"), 0.25)
    assert 0.4 < get(page, "transport.offset") < 0.9


def test_a_drag_on_a_track_loops_that_passage(open_page):
    page = open_page()
    drag(page, lane(page, 2).locator(".wave"), 0.25, 0.5)
    expect(page.locator("#player .passage")).to_contain_text("Passage: 0:01.0 – 0:02.0")
    hears(page, 2)
    expect(page.get_by_label("loop")).to_be_checked()
    region = lane(page, 2).locator(".region").bounding_box()
    wave = lane(page, 2).locator(".wave").bounding_box()
    assert region["x"] == pytest.approx(wave["x"] + wave["width"] / 4, abs=4)
    assert region["width"] == pytest.approx(wave["width"] / 4, abs=6)
    from_s, to_s = get(page, "player.passages()['2']")
    assert (from_s, to_s) == (pytest.approx(1, abs=0.03), pytest.approx(2, abs=0.03))
    assert get(page, "player.passages().clip") == [from_s, to_s]  # of all lanes, on the same clock
    press(page, " ")
    until(page, "transport.rounds.length > 1")  # the next turn is planned
    assert get(page, "transport.rounds.every((round) => Math.abs(round.length - 1) < 0.06)")
    drag(page, lane(page, 2).locator(".wave"), 0.6, 0.602)  # too short for a loop: a click
    assert get(page, "player.region") is None


def test_a_loop_that_was_switched_off_stays_off(open_page):
    page = open_page("?clip=1&loop=0.50-1.25")
    expect(page.get_by_label("loop")).to_be_checked()
    press(page, "l")
    title(page, 25).click()  # the answer repeats the address, which has the passage
    expect_lanes(page, 1, 2, 4, 17, 25)
    expect(page.get_by_label("loop")).not_to_be_checked()
    assert get(page, "player.region") == [0.5, 1.25]
    drag(page, lane(page, 2).locator(".wave"), 0.25, 0.5)
    expect(page.get_by_label("loop")).to_be_checked()


def test_a_drag_goes_backwards_and_beyond_the_edge_too(open_page):
    page = open_page()
    drag(page, lane(page, 2).locator(".wave"), 0.5, -0.05)
    from_s, to_s = get(page, "player.passages()['2']")
    assert (from_s, to_s) == (0, pytest.approx(2, abs=0.03))


def test_tracks_start_at_their_most_influential_moment(open_page):
    page = open_page()
    page.get_by_label("at their most influential moment").check()
    peaks = get(page, "Object.fromEntries(player.data.tracks.map((lane) => [lane.key, lane.strip.peak_s]))")
    starts = get(page, "Object.fromEntries([...transport.lanes.values()].map((lane) => [lane.key, lane.from]))")
    lengths = {"1": 3.0, "2": 4.0, "4": 15.0, "17": 4.0}
    assert starts.pop("clip") == 0
    # Where the end of a track is near, it starts early enough for 1.5 s.
    assert starts == {key: pytest.approx(min(peaks[key], lengths[key] - 1.5)) for key in lengths}
    assert "start=moment" in page.url
    press(page, "2", " ")
    until(page, "transport.playing && transport.lanes.get('2').buffer")
    offsets = get(page, "[transport.round().offset, player.at('2') - transport.offset]")
    assert offsets == [0, pytest.approx(starts["2"])]
    page.reload()
    expect(page.get_by_label("at their most influential moment")).to_be_checked()


def test_loudness_is_matched_by_the_gain_on_show(open_page):
    page = open_page()
    expect(page.get_by_label("match loudness")).to_be_checked()
    shown = {key: lane(page, key).locator(".gain").inner_text() for key in ("clip", 1, 2, 4, 17)}
    assert shown["clip"] == "−20.0 LUFS, −3.0 dB"
    for key, text in shown.items():
        decibels = float(text.split(", ")[1].removesuffix(" dB").replace("−", "-"))
        assert get(page, f"transport.lanes.get('{key}').gain") == pytest.approx(10 ** (decibels / 20), rel=0.01)
    press(page, "l", " ")
    until(page, "transport.playing")
    page.get_by_label("match loudness").uncheck()
    assert get(page, "[...transport.lanes.values()].map((lane) => lane.gain)") == [1] * 5
    until(page, "transport.current.node.gain.value === 1")  # what is heard, while it plays
    expect(lane(page, "clip").locator(".gain")).to_have_text("−20.0 LUFS")
    page.get_by_label("match loudness").check()
    until(page, "Math.abs(transport.current.node.gain.value - 10 ** (-3 / 20)) < 1e-3")


def test_volume_is_remembered(open_page):
    page = open_page()
    page.get_by_label("Volume").fill("50")
    assert get(page, "transport.volume") == pytest.approx(0.25)
    page.reload()
    page.locator("#player .lane").first.wait_for()
    expect(page.get_by_label("Volume")).to_have_value("50")
    assert get(page, "transport.volume") == pytest.approx(0.25)
    page.get_by_label("Volume").fill("0")
    page.reload()
    page.locator("#player .lane").first.wait_for()
    expect(page.get_by_label("Volume")).to_have_value("0")

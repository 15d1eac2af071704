"""Views from addresses and events; whatever a browser sends is checked; the player's values."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from explorer import lanes
from explorer.callbacks import BadEventError, Callbacks, parse_id
from explorer.store import Moments, Sound, StoreEmptyError

SOUND = Sound(
    duration_s=4.0,
    audio_path="a.wav",
    of_clip=False,
    audition="full",
    loudness_lufs=-20.0,
    peak_dbfs=-6.0,
    peaks=(9,) * 40,
)


@pytest.fixture
def page(store) -> Callbacks:
    return Callbacks(store)


@pytest.mark.parametrize("value", [3, 3.0, "3"])
def test_parse_id(value):
    assert parse_id(value) == 3


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        2**31,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "-1",
        "1e3",
        "٣",
        "9" * 500,
        [1],
        {"a": 1},
        "1;x",
    ],
)
def test_parse_id_refuses(value):
    with pytest.raises(BadEventError):
        parse_id(value)


@pytest.mark.parametrize(
    "query",
    [
        *({}, {"clip": "999"}, {"clip": "1 OR 1=1"}, {"clip": "", "method": "", "track": ""}),
        *({"method": "<script>"}, {"track": "-5"}, {"track": "999999"}, {"clip": "1", "track": "\0"}),
        *({"scores": "../..", "decoys": "yes"}, {"clip": "9" * 400}),
    ],
)
def test_garbage_in_the_address_gives_the_default(page, query):
    view = page.view_of(query)
    assert (view.clip_id, view.method.name, view.order, view.decoys) == (1, "unlearning", "normalised", False)
    assert view.track_id == 1


def test_link_comes_back(page):
    query = {"clip": "102", "method": "cosine", "track": "55", "scores": "raw", "decoys": "1"}
    view = page.view_of(query)
    assert dict(parse_qsl(page.link(view))) == query


@pytest.mark.parametrize(
    "values",
    [
        (999, "unlearning", "raw", False),
        ("x", "unlearning", "raw", False),
        (1, "no", "raw", False),
        (1, "cosine", 3, 0),
    ],
)
def test_bad_controls_are_refused(page, values):
    with pytest.raises(BadEventError):
        page.choose_clip(*values)


def test_a_bad_track_gives_way_to_the_strongest(page):
    for track in (None, "x", 10**9, {"id": 3}):
        assert page.choose(2, "unlearning", "normalised", False, track).track_id == 3
    assert page.choose(2, "unlearning", "normalised", False, 60).track_id == 60


def test_page_is_plain_and_small(page):
    for clip in (1, 2, 3, 101, 102):
        made = page.page(page.choose_clip(clip, "unlearning", "normalised", False))
        for value in (made.player, made.curve, made.table, made.verdict, made.summary):
            assert len(json.dumps(value, allow_nan=False)) < 50_000


def test_noise_is_said_first(page):
    made = page.page(page.choose_clip(3, "unlearning", "normalised", False))
    assert made.verdict[0].startswith("Nothing is above noise")
    assert "not distinguishable from noise" in made.player["track"]["note"]
    assert made.player["track"]["strip"]["above_noise"] is False


def test_control_clip_is_explained(page):
    made = page.page(page.choose_clip(101, "unlearning", "normalised", False))
    assert "unlearned itself" in made.verdict[1] and "number 1 of 40" in made.verdict[1]
    assert made.player["clip"]["note"].startswith("control: a training track unlearned itself")


def test_a_chosen_decoy_is_said_to_be_one(page):
    made = page.page(page.choose(1, "unlearning", "raw", True, 60))
    assert "decoy, never heard" in made.player["track"]["note"]


def test_findings_are_listed_along_training(page):
    (line,) = [x for x in page.about(page.view_of({})) if x.startswith("share of decoys among the best 10 by raw")]
    assert line.endswith(": 0.3 (step 100) → 0.92 (step 2,000)")


def test_no_path_leaves_the_server(page, store_path):
    made = page.page(page.choose(1, "unlearning", "normalised", True, 8))
    text = json.dumps([made.player, made.curve, made.table])
    assert str(store_path.parent) not in text and "secret" not in text and ".wav" not in text


def test_a_clip_that_a_method_did_not_score_says_so(made, tmp_path):
    import duckdb

    from explorer.store import Store

    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM scores WHERE method_id = 2 AND clip_id = 1")
    page = Callbacks(Store(path))
    shown = page.page(page.view_of({"method": "cosine", "clip": "1", "track": "3"}))
    assert shown.verdict == ["This method did not score this clip."]
    assert shown.player["track"] is None and shown.player["clip"]["url"] == "/audio/clip/1"
    assert shown.curve["place"] == [] and shown.table["data"] == []
    assert page.view_of(dict(parse_qsl(shown.link))) == shown.view


def test_empty_store_is_refused(made, tmp_path):
    import duckdb

    from explorer.store import Store

    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM scores")
    with pytest.raises(StoreEmptyError, match="no scored clip yet"):
        Callbacks(Store(path))


def test_gains_match_loudness_below_full_scale():
    loud = replace(SOUND, loudness_lufs=-8.0, peak_dbfs=-0.1)
    quiet = replace(SOUND, loudness_lufs=-33.0, peak_dbfs=-12.0)
    gains = lanes.matched_gains([loud, quiet])
    assert loud.loudness_lufs + gains[0] == pytest.approx(quiet.loudness_lufs + gains[1])
    assert all(sound.peak_dbfs + gain <= 1e-9 for sound, gain in zip((loud, quiet), gains, strict=True))
    unknown = replace(SOUND, loudness_lufs=None)
    assert lanes.matched_gains([unknown, unknown]) == [0.0, 0.0]
    assert lanes.matched_gains([unknown, loud])[0] == 0.0
    assert lanes.matched_gains([replace(SOUND, peak_dbfs=None, loudness_lufs=-40.0)]) == [0.0]


def test_excerpt_lane_shows_what_is_heard():
    long = replace(SOUND, duration_s=60.0, audition="excerpt", peaks=tuple(range(200)))
    lane = lanes.lane("u", "t", "n", long, 0.0)
    assert lane["duration_s"] == 15.0 and lane["peaks"] == list(range(50))
    assert lane["note"] == "n · the first 15 s of 60 s"
    hidden = lanes.lane("u", "t", "n", replace(SOUND, audition="none"), 0.0)
    assert hidden["refused"] == "the rights holder does not allow listening"


def test_strip_finds_the_moment_within_what_is_heard():
    influence = (0.0, 0.5, -1.0, 0.25, *([9.0] * 100))
    found = lanes.strip(Moments(1.0, influence), SOUND, True)
    assert found == {"values": [0.0, 1.0, 0.0, 0.5], "length_s": 4.0, "peak_s": 1.0, "above_noise": True}
    assert lanes.strip(Moments(1.0, (-1.0, 0.0)), SOUND, True) is None

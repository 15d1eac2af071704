"""The cards of all clips: what each says, in which order, on which scale."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from explorer.listen import overview
from explorer.store.records import ClipRecord, Summary


def clip(clip_id: int, kind: str = "generated", prompt: str | None = "a reel", **other: object) -> ClipRecord:
    fields = {"target_track_id": None, "seed": 11, "duration_s": 7.04, "target_title": None}
    return ClipRecord(clip_id=clip_id, kind=kind, prompt=prompt, **{**fields, **other})  # type: ignore[arg-type]


def summary(clip_id: int, tracks: int = 365, above: int = 5, held: float | None = 0.29, spark=(2.0, -1.0)) -> Summary:
    shares = (None if held is None else held / 3, held, None if held is None else 1.0)
    return Summary(clip_id, tracks, 320, above, tracks, True, 0, 0, shares, shares, 1.0, 0.5, spark)


CONTROL = clip(9, "track", None, target_track_id=4, target_title="Waltz", seed=None)


def test_a_card():
    made = overview.describe_clips([clip(1)], {1: summary(1)}, selected=1)
    assert made["selected"] == 1 and made["controls"] == []
    assert made["clips"] == [
        {
            "clip_id": 1,
            "name": "a reel",
            "detail": "generated · 7.0 s · seed 11",
            "above": 5,
            "above_text": "5 of 365 candidates above noise",
            "share": 0.29,
            "share_text": "top 10 hold 29 %",
            "spark": [2.0, -1.0],
        }
    ]


def test_a_clip_of_a_tuned_model_says_so():
    card = overview.describe_clips([clip(1, run_id=2)], {1: summary(1)}, None)["clips"][0]
    assert card["detail"] == "generated · 7.0 s · seed 11 · tuned model"


def test_controls_stand_apart_and_orders_are_kept():
    clips = [clip(3), clip(1), CONTROL, clip(2, "user", None, seed=None)]
    made = overview.describe_clips(clips, {}, None)
    assert [card["clip_id"] for card in made["clips"]] == [3, 1, 2]
    assert [card["name"] for card in made["controls"]] == ["Control: Waltz"]
    assert made["controls"][0]["detail"] == "control · 7.0 s"
    assert made["clips"][2]["detail"] == "your clip · 7.0 s" and made["clips"][2]["name"] == "no prompt"


@pytest.mark.parametrize(
    ("about", "above", "share"),
    [
        (None, "not scored by this method", ""),
        (summary(1, tracks=0, above=0, held=None, spark=()), "not scored by this method", ""),
        (summary(1, above=0), "nothing above noise", ""),  # how noise is spread says nothing
        (summary(1, above=0, held=None), "nothing above noise", ""),
        (replace(summary(1, above=0), can_tell=False), "cannot tell: too few decoys", ""),
        (replace(summary(1, above=0), can_tell=False, candidates=0), "nothing tested", ""),
        (summary(1, above=1, held=None), "1 of 365 candidates above noise", "no positive score"),
        (summary(1, tracks=115_000, above=1200), "1,200 of 115,000 candidates above noise", "top 10 hold 29 %"),
        (summary(1, tracks=7, above=1, held=1.0), "1 of 7 candidates above noise", "top 7 hold 100 %"),
        (summary(1, tracks=1, above=1, held=1.0), "1 of 1 candidate above noise", "the only track holds all"),
    ],
)
def test_states_in_words(about, above, share):
    card = overview.describe_clips([clip(1)], {} if about is None else {1: about}, None)["clips"][0]
    assert (card["above_text"], card["share_text"]) == (above, share)
    scored = above != "not scored by this method"
    assert (card["above"] is not None) == scored == bool(card["spark"])


def test_concentration_sorts_where_it_is_not_said():
    found = {1: summary(1, above=0, held=0.4), 2: summary(2, held=0.1), 3: summary(3, above=0, held=None)}
    cards = overview.describe_clips([clip(1), clip(2), clip(3), clip(4)], found, None)["clips"]
    assert [card["share"] for card in cards] == [0.4, 0.1, None, None]


def test_all_sparks_share_one_scale_that_holds_zero():
    clips = [clip(1), clip(2), CONTROL]
    found = {1: summary(1, spark=(3.0, 1.0)), 2: summary(2, spark=(2.0, -4.5)), 9: summary(9, spark=(15.8, 0.1))}
    made = overview.describe_clips(clips, found, None)
    assert made["scale"] == [-4.5, 15.8]
    low, high = made["scale"]
    assert all(low <= value <= high for card in made["clips"] + made["controls"] for value in card["spark"])
    assert overview.describe_clips(clips, {1: summary(1, spark=(3.0, 1.0))}, None)["scale"] == [0.0, 3.0]
    assert overview.describe_clips([], {}, None) == {"scale": [0.0, 0.0], "clips": [], "controls": [], "selected": None}


def test_long_prompts_are_cut_and_many_clips_stay_small():
    spark = tuple(3.14159 / (i + 1) for i in range(40))
    clips = [clip(i, prompt="a slow waltz in a minor key on piano " * 20) for i in range(64)]
    made = overview.describe_clips(clips, {i: summary(i, spark=spark) for i in range(64)}, 1)
    assert all(len(card["name"]) == 300 for card in made["clips"])
    assert len(json.dumps(made, allow_nan=False)) < 60_000


def test_on_a_store(store):
    made = overview.describe_clips(store.clips.list_scored(), store.scores.read_summaries(1), 101)
    assert [card["clip_id"] for card in made["clips"]] == [1, 2, 3]
    assert [card["clip_id"] for card in made["controls"]] == [101, 102]
    assert [card["above"] for card in made["clips"]] == [4, 1, 0]
    assert made["clips"][2]["above_text"] == "nothing above noise"
    assert made["clips"][1]["name"] == store.clips.read(2).prompt  # hostile text passes as it is: text, not markup
    assert all(len(card["spark"]) == 40 for card in made["clips"])
    assert (
        overview.describe_clips(store.clips.list_scored(), store.scores.read_summaries(999), None)["clips"][0]["above"]
        is None
    )

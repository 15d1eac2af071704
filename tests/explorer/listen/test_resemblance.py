"""Resemblance of clip and track beside the player: aspects, passages, and what is missing."""

from __future__ import annotations

import json

import pytest

from explorer.listen.page import ListenPage
from explorer.listen.resemblance import ResemblanceFacts, describe_resemblance
from explorer.state.store_views import StoreViews
from explorer.store.records import PassageRecord, SoundRecord
from explorer.text import resemblance as words


@pytest.fixture
def views(store) -> StoreViews:
    return StoreViews(store)


@pytest.fixture
def page(views) -> ListenPage:
    return ListenPage(views)


@pytest.mark.parametrize("query", ["clip=1", "clip=2&scores=raw&method=cosine", "clip=101", "clip=3&lanes=none"])
def test_the_value_is_plain_and_small(page, views, query):
    assert len(json.dumps(page.describe_resemblance(views.read_query(query)), allow_nan=False)) < 50_000


def test_aspects_and_passages_of_the_tracks_in_the_player(page, views):
    shown = page.describe_resemblance(views.read_query("clip=1"))
    one = shown["tracks"]["1"]
    assert one["aspects"] == [["melody", 97.0], ["harmony", 88.5], ["rhythm", 41.0], ["timbre", 12.0]]
    assert [item["close"] for item in one["passages"]] == [True, False]
    assert one["passages"][0]["text"] == "track moved 2 semitones up; a decoy comes as close in 1 % of cases"
    assert (
        shown["tracks"]["2"]["missing"] == words.NOT_COMPARED and shown["tracks"]["17"]["copied"] == words.NO_PASSAGES
    )
    assert one["facts"]["place"] == "1"


def test_a_passage_beyond_an_excerpt_cannot_be_heard():
    sound = SoundRecord(40.0, "x.wav", False, "excerpt", None, None, ())
    passages = [PassageRecord(1, 0, 1, 20.0, 21.0, -1, 0.9, 0.0), PassageRecord(2, 0, 1, 1.0, 2.0, 0, 0.9, 0.2)]
    shown = describe_resemblance(ResemblanceFacts(None, passages, True, True), sound, None)
    assert [one["why"] is None for one in shown["passages"]] == [False, True]
    assert shown["passages"][0]["text"].startswith("track moved 1 semitone down; a decoy comes as close in less than")


def test_a_passage_in_the_address_reaches_the_player(page, views):
    view = views.read_query("clip=1&track=1&start=moment&passage=1:2")
    assert views.read_query(view.query()) == view
    player = page.describe_player(view)
    assert player["passage"] == {"track_id": 1, "number": 2, "clip": [1.0, 1.8], "track": [0.2, 1.0]}
    for bad in ("1:9", "33:1", "x", "1:1:1"):
        assert page.describe_player(views.read_query(f"clip=1&passage={bad}"))["passage"] is None

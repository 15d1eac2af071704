"""Queries of the table, the hard cases and the holders: kept in the address, checked where it comes in."""

from __future__ import annotations

import math
from urllib.parse import parse_qsl

import pytest

from explorer.state.events import EventHandler
from explorer.state.queries import HOLDER_GROUPS, HOLDER_PAIRS, HolderQuery, TableQuery
from explorer.state.view import BadEventError

HOLDER_ASKED = HolderQuery("label", "A & B=<i>", "above", "clara s", 2 * HOLDER_GROUPS, HOLDER_PAIRS, "waltz é")


def test_the_address_holds_it(held):
    view = held.read_address({"view": "holders", **{k: str(v) for k, v in HOLDER_ASKED.to_address().items()}})
    assert view.holders == HOLDER_ASKED
    assert held.read_query(view.query()) == view
    assert HolderQuery().to_address() == {}


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        {"nothing": 1},
        {"count": "11"},
        {"count": None},
        {"name": 3},
        {"name": "x" * 201},
        {"grouping": "\ud800"},
        {"find": None},
        {"within": None},
        {"within": "x" * 201},
        {"offset": 1},
        {"offset": -HOLDER_GROUPS},
        {"offset": True},
        {"row": HOLDER_GROUPS + 1},
        {"row": 10**9 * HOLDER_PAIRS},
    ],
)
def test_what_makes_no_sense_is_refused(held, asked):
    with pytest.raises(ValueError):
        HolderQuery.of_event(asked)
    if isinstance(asked, dict):
        with pytest.raises(BadEventError):
            EventHandler(held).ask_holders(held.read_address({}), asked)


@pytest.mark.parametrize("parts", [{"page": "x"}, {"page": "7"}, {"rows": "9" * 30}, {"up": "z"}, {"of": "n" * 300}])
def test_an_address_that_makes_no_sense_is_the_default(parts):
    assert HolderQuery.of_address(parts) == HolderQuery()


def test_a_clip_that_is_opened_keeps_it(held):
    view = held.read_address({"view": "holders", "by": "label"})
    assert EventHandler(held).choose_clip(view, 2).holders.grouping == "label"


def test_a_pair_is_opened_at_its_place(held):
    view = held.read_address({"view": "holders"})
    where = {"from_s": 0.5, "to_s": 2.0, "clip_from_s": 1.0, "clip_to_s": 1.4}
    opened = EventHandler(held).hear_pair(view, {"clip_id": 1, "track_id": 20, **where})
    asked = dict(parse_qsl(opened.query()))
    assert asked["clip"] == "1" and asked["track"] == "20" and asked["loop"] == "20:0.50-2.00"
    assert asked["start"] == "moment" and "view" not in asked and asked["span"] == "1.00-1.50"
    for track_id in (1, 20, 33):  # in the player, though the span has other strongest tracks
        opened = EventHandler(held).hear_pair(view, {"clip_id": 1, "track_id": track_id, **where})
        assert opened.track_id == track_id and track_id in held.list_lanes(opened)
    assert EventHandler(held).hear_pair(view, {"clip_id": 2, "track_id": 3}).loop is None
    for bad in (
        {},
        {"clip_id": 9, "track_id": 1},
        {"clip_id": 1, "track_id": 999},
        {"clip_id": 1, "track_id": 1, "from_s": "x"},
    ):
        with pytest.raises(BadEventError):
            EventHandler(held).hear_pair(view, bad)


TABLE_ASKED = {
    "text": "waltz",
    "collection": "Mutopia",
    "above": True,
    "decoys": False,
    "sort": "title",
    "descending": True,
    "offset": 200,
}


def test_a_whole_query_is_taken_as_it_is():
    query = TableQuery.of_event(TABLE_ASKED)
    assert query == TableQuery("waltz", "Mutopia", True, False, "title", True, 200)
    assert query.by == "title" and query.finds
    assert TableQuery.of_event({}) == TableQuery() and TableQuery().by is None and not TableQuery().finds
    assert not TableQuery.of_event({"text": "  "}).finds and TableQuery.of_event({"sort": "source"}).finds


@pytest.mark.parametrize(
    "asked",
    [
        *(None, [], "text", 7, {"drop": 1}, {1: 2}),
        *({"text": 5}, {"text": None}, {"text": "x" * 201}, {"text": "\ud800"}, {"text": ["a"]}),
        *({"collection": 3}, {"collection": True}, {"collection": "\udfff"}, {"collection": {}}),
        *({"above": 1}, {"decoys": "true"}, {"descending": None}, {"above": 0}),
        *({"sort": "rank"}, {"sort": None}, {"sort": ["place"]}, {"sort": "title; DROP TABLE tracks"}),
        *({"offset": -100}, {"offset": 50}, {"offset": 100.0}, {"offset": True}, {"offset": "0"}, {"offset": math.nan}),
        *({"offset": 10_000_100}, {"offset": 10**400}),
    ],
)
def test_anything_odd_is_refused_in_a_plain_sentence(asked):
    with pytest.raises(ValueError) as refused:
        TableQuery.of_event({**TABLE_ASKED, **asked} if isinstance(asked, dict) else asked)
    said = str(refused.value)
    assert said and "\n" not in said and "Error" not in said and len(said) < 120


def test_the_limits_themselves_are_allowed():
    assert TableQuery.of_event({"text": "x" * 200, "offset": 10_000_000}).offset == 10_000_000
    assert TableQuery.of_event({"collection": ""}).collection == ""

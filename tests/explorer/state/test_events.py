"""Views from addresses and events; whatever a browser sends is checked."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

import duckdb
import pytest

from explorer.state.events import EventHandler
from explorer.state.queries import TableQuery
from explorer.state.store_views import StoreViews
from explorer.state.view import LANES, MOST_LANES, BadEventError
from explorer.store import Store
from explorer.store.errors import StoreEmptyError


@pytest.fixture
def views(store) -> StoreViews:
    return StoreViews(store)


def test_first_view_is_the_first_clip_and_its_strongest_track(views):
    view = views.read_address({})
    assert (view.clip_id, view.method.name, view.track_id, view.lanes) == (1, "unlearning", 1, None)
    assert views.list_lanes(view) == (1, 2, 4, 17)
    assert len(views.list_lanes(view)) == LANES


@pytest.mark.parametrize(
    "query",
    [
        "clip=2&method=cosine&track=60&scores=raw&decoys=1",
        "clip=1&track=17&lanes=17,60,3&start=moment&loop=17:0.50-1.50",
        "clip=1&span=0.50-1.00&start=moment",
        "clip=3&find=waltz&in=Mutopia&sort=title&down=1&above=1&view=guide",
        "clip=101&loop=0.20-1.00",
    ],
)
def test_a_link_is_read_back(views, query):
    view = views.read_address(dict(parse_qsl(query)))
    assert views.read_address(dict(parse_qsl(view.query()))) == view
    assert views.read_query(view.query()) == view
    assert set(query.split("&")) <= set(view.query().split("&"))


@pytest.mark.parametrize(
    "query",
    [
        {"clip": "999", "track": "1"},
        {"clip": "1; DROP TABLE clips"},
        {"method": "${alert(1)}"},
        {"track": "-7"},
        {"track": "999"},
        {"span": "5-1"},
        {"span": "<script>"},
        {"lanes": "x,y,,-1"},
        {"lanes": "," * 4000},
        {"loop": "1"},
        {"start": "never"},
        {"scores": "best"},
        {"sort": "norm"},
        {"view": "admin"},
    ],
)
def test_garbage_in_a_link_gives_the_default(views, query):
    assert views.read_address(query) == views.read_address({})


def test_lanes_of_a_link_are_known_distinct_and_few(views):
    ids = ",".join(map(str, [5, 5, 999, *range(20, 40)]))
    view = views.read_address({"lanes": ids, "track": "21"})
    assert view.lanes == (5, *range(20, 20 + MOST_LANES - 1)) and view.track_id == 21


def test_a_track_of_a_link_is_a_lane(views):
    view = views.read_address({"clip": "1", "track": "33"})
    assert view.lanes == (1, 2, 4, 17, 33) and view.track_id == 33


@pytest.mark.parametrize("query", [None, 3, {"clip": 1}, ["clip=1"], "clip=1&" * 2000])
def test_a_view_that_is_no_query_is_refused(views, query):
    with pytest.raises(BadEventError):
        views.read_query(query)


def test_another_clip_brings_its_own_tracks(views):
    view = views.read_query("clip=1&lanes=5,6&track=6&span=0.50-1.00&loop=0.1-0.3&find=waltz&decoys=1&start=moment")
    other = EventHandler(views).choose_clip(view, 2)
    assert (other.clip_id, other.lanes, other.span, other.loop) == (2, None, None, None)
    assert other.track_id == views.rank(other).first(1)[0] == 3
    assert other.asked == TableQuery(text="waltz", decoys=True) and other.start == "moment"
    assert EventHandler(views).open_clip(view, {"clip_id": 2}) == other
    assert EventHandler(views).visit(view, {"query": other.query()}) == other


def test_another_method_and_order(views):
    view = views.read_query("clip=1&span=0.50-1.00&lanes=5")
    cosine = EventHandler(views).choose_method(view, "cosine")  # it kept no windows of the clip
    assert (cosine.method.name, cosine.span, cosine.lanes) == ("cosine", None, None)
    raw = EventHandler(views).choose_order(views.read_address({}), "raw")
    best = views.store.scores.read_frame(1, 1)
    best = best[~best["is_decoy"]].sort_values("score", ascending=False)
    assert views.list_lanes(raw) == tuple(best["track_id"].head(LANES))


def test_a_span_ranks_its_tracks(views, made):
    view = EventHandler(views).choose_span(views.read_address({}), {"from_s": 1.02, "to_s": 1.49, "start": "moment"})
    assert view.start == "moment" and view.span is not None and (view.span.first, view.span.last) == (3, 3)
    assert views.list_lanes(view)[0] == view.track_id == made.SPAN_TRACK
    kept = EventHandler(views).choose_span(replace(view, lanes=(5, 6), track_id=6), {"from_s": 0.0, "to_s": 0.5})
    assert views.list_lanes(kept) == (5, 6) and kept.track_id == 6
    assert EventHandler(views).choose_span(view, {}) == views.read_address({"start": "moment"})


def test_tracks_join_and_leave_the_player(views):
    view = views.read_address({})
    joined = EventHandler(views).choose_track(view, {"track_id": 60})
    assert views.list_lanes(joined) == (1, 2, 4, 17, 60) and joined.track_id == 60
    assert EventHandler(views).choose_track(view, {"track_id": 4}).lanes is None  # it is a lane already
    left = EventHandler(views).drop_track(joined, {"track_id": 60})
    assert views.list_lanes(left) == (1, 2, 4, 17) and left.track_id == 1
    empty = left
    for track_id in (1, 2, 4, 17):
        empty = EventHandler(views).drop_track(empty, {"track_id": track_id})
    assert views.list_lanes(empty) == () and empty.track_id is None
    assert views.read_query(empty.query()) == empty


def test_every_place_of_the_curve_is_a_track(views):
    view = views.read_address({})
    seen = {EventHandler(views).choose_place(view, {"place": i, "decoy": False}).track_id for i in range(1, 41)}
    seen |= {EventHandler(views).choose_place(view, {"place": i, "decoy": True}).track_id for i in range(1, 41)}
    assert seen == set(range(1, 81))


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("choose_clip", 999),
        ("choose_clip", None),
        ("choose_clip", "1 OR 1=1"),
        ("choose_method", ["unlearning"]),
        ("choose_method", "secret"),
        ("choose_order", "rank"),
        ("choose_span", {"from_s": "0", "to_s": 1}),
        ("choose_span", {"from_s": 0}),
        ("choose_span", {"from_s": float("nan"), "to_s": 1}),
        ("choose_track", {}),
        ("choose_track", {"track_id": 999}),
        ("choose_track", {"track_id": {"$gt": 0}}),
        ("choose_place", {"place": 0}),
        ("choose_place", {"place": 41, "decoy": False}),
        ("choose_place", {"place": "<b>", "decoy": True}),
        ("drop_track", {"track_id": None}),
        ("open_clip", {}),
        ("visit", {"query": 5}),
        ("ask_table", {"sort": "score; DROP TABLE scores"}),
        ("ask_table", {"text": "x" * 5000}),
        ("ask_table", {"offset": -1}),
        ("ask_table", []),
    ],
)
def test_bad_events_are_refused(views, event, data):
    with pytest.raises(BadEventError) as caught:
        getattr(EventHandler(views), event)(views.read_address({}), data)
    assert "\n" not in str(caught.value)


def test_a_clip_that_a_method_did_not_score(made, tmp_path):
    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM scores WHERE method_id = 2 AND clip_id = 1")
        con.execute("DELETE FROM summaries WHERE method_id = 2 AND clip_id = 1")
    views = StoreViews(Store(path))
    view = views.read_address({"method": "cosine", "clip": "1", "track": "3"})
    assert view.track_id is None and views.list_lanes(view) == () and views.find_summary(view) is None
    assert views.read_query(view.query()) == view


def test_empty_store_is_refused(made, tmp_path):
    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("DELETE FROM scores")
    with pytest.raises(StoreEmptyError, match="no scored clip yet"):
        StoreViews(Store(path))

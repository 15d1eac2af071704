"""The address as state: what it says is read back; what makes no sense gives way to a default."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from explorer.state.queries import TableQuery
from explorer.state.view import (
    MOST_LANES,
    BadEventError,
    Loop,
    View,
    cover_windows,
    parse_id,
    parse_loop,
    parse_seconds,
)
from explorer.store.ranking import RAW, Span
from explorer.store.records import MethodRecord

METHOD = MethodRecord(1, "unlearning", "Unlearning", "", True)


@pytest.mark.parametrize("value", [3, 3.0, "3"])
def test_parse_id(value):
    assert parse_id(value) == 3


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 2**31, 1.5, float("nan"), float("inf"), "", "-1", "1e3", "٣", "9" * 500, [1], {"a": 1}, "1;x"],
)
def test_parse_id_refuses(value):
    with pytest.raises(BadEventError):
        parse_id(value)


@pytest.mark.parametrize("value", [None, True, "1", -0.1, float("nan"), float("inf"), 1e7, [1.0], {}])
def test_parse_seconds_refuses(value):
    with pytest.raises(BadEventError):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2-3.4", Loop(None, 1.2, 3.4)),
        ("17:0-3", Loop(17, 0.0, 3.0)),
        ("3-1", None),
        ("1-1", None),
        ("a-b", None),
        ("-1-2", None),
        ("1-2-3", None),
        ("1e3-1e4", None),
        ("٣-٤", None),
        ("1:2:3-4", None),
        ("9" * 400 + "-1", None),
        ("", None),
    ],
)
def test_parse_loop(text, expected):
    assert parse_loop(text) == expected


@pytest.mark.parametrize(
    ("from_s", "to_s", "expected"),
    [
        (0.0, 1.0, (1, 1)),
        (1.0, 3.0, (2, 3)),
        (0.95, 2.05, (2, 2)),  # a hair's breadth of a window does not count
        (0.5, 1.5, (1, 2)),
        (2.2, 2.3, (3, 3)),
        (6.9, 7.4, (7, 7)),  # the end of the clip
        (99.0, 100.0, None),
        (0.0, 7.0, None),  # the whole clip is no span
        (3.0, 3.0, None),
        (4.0, 2.0, None),
    ],
)
def test_span_of_takes_the_windows_it_touches(from_s, to_s, expected):
    span = cover_windows(from_s, to_s, 7, 1.0)
    assert (None if span is None else (span.first, span.last)) == expected


def test_without_windows_there_is_no_span():
    assert cover_windows(0.0, 1.0, 0, 0.0) is None


def test_a_query_keeps_every_part():
    asked = TableQuery("minor & <b>", "Mutopia", True, True, "title", True, 100)
    view = View(7, METHOD, RAW, Span(2, 3, 1.0), (5, 9), 9, "moment", Loop(9, 0.5, 1.25), asked, "clips")
    parts = dict(parse_qsl(view.query()))
    assert parts == {
        "clip": "7",
        "method": "unlearning",
        "track": "9",
        "scores": "raw",
        "span": "1.00-3.00",
        "lanes": "5,9",
        "start": "moment",
        "loop": "9:0.50-1.25",
        "find": "minor & <b>",
        "in": "Mutopia",
        "sort": "title",
        "from": "100",
        "above": "1",
        "decoys": "1",
        "down": "1",
        "view": "clips",
    }
    assert TableQuery.of_address(parts) == asked


def test_a_word_may_be_the_name_of_an_order():
    view = View(7, METHOD, asked=TableQuery(text="place"))
    assert TableQuery.of_address(dict(parse_qsl(view.query()))) == view.asked


def test_defaults_stay_out_of_the_address():
    assert View(7, METHOD).query() == "clip=7&method=unlearning"


@pytest.mark.parametrize(
    "parts",
    [
        {"find": "x" * 5000},
        {"sort": "score; DROP TABLE tracks"},
        {"from": "-100"},
        {"from": "7"},
        {"from": "9" * 300},
        {"sort": "title", "from": "1e9"},
    ],
)
def test_a_senseless_question_gets_the_default(parts):
    asked = TableQuery.of_address(parts)
    assert asked in (TableQuery(), TableQuery(sort="title"))


def test_a_full_player_gives_up_its_last_lane():
    lanes = tuple(range(1, MOST_LANES + 1))
    view = View(7, METHOD).with_lane(99, lanes)
    assert view.lanes == (*lanes[:-1], 99) and view.track_id == 99
    assert View(7, METHOD).with_lane(3, lanes) == View(7, METHOD, track_id=3)

"""The values that the curve draws."""

from __future__ import annotations

import json

import numpy as np
import pytest

from explorer.listen import charts
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, compute_q_values, rank_clip, rank_span
from explorer.text.numbers import choose_exponent
from explorer.text.verdict import word_concentration, word_verdict

SPAN = Span(3, 4, 1.0)


def ranking(train: list[float], decoys: list[float] = (), above: int = 0, q: float | None = None) -> Ranking:
    """Tracks are 1, 2 ... in the order given, decoys go on from there; the `above` best tracks are above noise."""
    value = np.array([*train, *decoys], dtype=float)
    is_decoy = np.arange(len(value)) >= len(train)
    order = np.argsort(-value, kind="stable")
    flags = ~is_decoy[order] & (np.cumsum(~is_decoy[order]) <= above)
    rate = np.full(len(value), q) if q is not None else compute_q_values(value[order], is_decoy[order])
    return Ranking(order.astype(np.int32) + 1, is_decoy[order], value[order], rate, flags)


def large() -> Ranking:
    rng = np.random.default_rng(1)
    train, decoys = rng.standard_t(3, 115_000) * 1e-7, rng.standard_t(3, 10_000) * 1e-7
    return ranking(list(train), list(decoys), above=40)


def test_sample_places():
    assert charts.sample_places(0).tolist() == []
    assert charts.sample_places(7).tolist() == list(range(1, 8))
    places = charts.sample_places(115_000)
    assert places[:100].tolist() == list(range(1, 101))
    assert places[-1] == 115_000 and (np.diff(places) > 0).all() and 380 <= places.size <= 400
    decoys = charts.sample_places(10_000, charts.EVERY_DECOY_TO, charts.LOG_DECOYS)
    assert decoys[:40].tolist() == list(range(1, 41))
    assert decoys[-1] == 10_000 and 140 <= decoys.size <= 160


@pytest.mark.parametrize("title", ["a" * 500, "\N{HIRAGANA LETTER A}" * 500])
def test_payload_of_a_large_corpus_stays_small(title):
    made = large()
    lanes = [int(i) for i in made.track_id[[50_000, 124_999]]]
    drawn = charts.describe_curve(
        made, NORMALISED, None, dict.fromkeys(range(1, 125_001), title), lanes[0], 3e-7, lanes
    )
    assert len(json.dumps(drawn, allow_nan=False)) < 50_000
    for name in ("track", "decoy"):
        series = drawn[name]
        assert series["place"] == sorted(series["place"]) and series["place"][-1] == series["count"]
        assert len(series["place"]) == len(series["value"]) == len(series["id"])
    assert len(drawn["track"]["title"]) == 60 and max(map(len, drawn["track"]["title"])) == 60
    assert drawn["power"] and set(drawn["marks"]) == {str(i) for i in lanes}


def test_every_sample_is_the_track_at_its_place():
    made = large()
    drawn = charts.describe_curve(made, NORMALISED, None, {}, None, None)
    value = dict(zip(made.track_id.tolist(), made.value.tolist(), strict=True))
    unit = 10.0 ** choose_exponent(made.value)
    for name, decoy in (("track", False), ("decoy", True)):
        series = drawn[name]
        for place, shown, track_id in zip(series["place"], series["value"], series["id"], strict=True):
            assert made.at(place, decoy) == track_id
            assert shown == pytest.approx(value[track_id] / unit, rel=1e-3)


def test_decoys_stand_where_as_many_decoys_as_tracks_would():
    drawn = charts.describe_curve(
        ranking([9.0, 7, 5, 3, 2, 1, 0, -1], decoys=[8.0, 4]), NORMALISED, None, {}, None, None
    )
    assert drawn["decoy"]["place"] == [1, 2] and drawn["decoy"]["at"] == [4.0, 8.0]
    assert drawn["track"]["place"] == [1, 2, 3, 4, 5, 6, 7, 8]
    more = charts.describe_curve(ranking([9.0], decoys=[8.0, 4]), NORMALISED, None, {}, None, None)
    assert more["decoy"]["at"] == [0.5, 1.0]
    none = charts.describe_curve(ranking([9.0]), NORMALISED, None, {}, None, None)
    assert none["decoy"]["at"] == [] and none["legend"]["decoy"] is None and "No decoys" in none["caption"]


def test_axis_spans_three_decades_of_positive_values():
    drawn = charts.describe_curve(ranking([100.0, 1.0, 0.05, 0.0, -3.0]), NORMALISED, None, {}, None, None)
    assert (drawn["low"], drawn["high"], drawn["cut"]) == (0.1, 100.0, True)
    close = charts.describe_curve(ranking([8.0, 2.0, -3.0]), NORMALISED, None, {}, None, None)
    assert (close["low"], close["high"], close["cut"]) == (2.0, 8.0, False)
    nothing = charts.describe_curve(ranking([0.0, -2.0], decoys=[-1.0]), NORMALISED, None, {}, None, None)
    assert nothing["low"] is nothing["high"] is None and nothing["shares"] == [None, None]
    empty = charts.describe_curve(ranking([]), NORMALISED, None, {}, None, None)
    assert empty["track"]["count"] == 0 and empty["counts"] == [] and empty["caption"] == ""


def test_threshold_is_drawn_only_where_it_means_something():
    made = ranking([3.0, 2, 1], decoys=[0.5], above=2)
    assert charts.describe_curve(made, NORMALISED, None, {}, None, 2.0)["threshold"] == 2.0
    assert charts.describe_curve(made, NORMALISED, None, {}, None, 2.0)["legend"]["line"] == "least score above noise"
    for order, span in ((RAW, None), (NORMALISED, SPAN)):
        drawn = charts.describe_curve(made, order, span, {}, None, 2.0)
        assert drawn["threshold"] is None and drawn["legend"]["line"] is None
    # Where decoys alone meet the criteria there is a threshold, and yet nothing above it.
    none = charts.describe_curve(ranking([3.0, 2, 1]), NORMALISED, None, {}, None, 2.0)
    assert none["threshold"] is None and none["legend"]["line"] == "no score is above noise"
    assert none["legend"]["out"] is None


def test_in_a_span_the_q_value_marks_what_stands_out():
    made = ranking([3.0, 2, 1], decoys=[0.5], above=0, q=0.08)
    drawn = charts.describe_curve(made, NORMALISED, SPAN, {}, None, None)
    assert drawn["track"]["out"] == [1, 1, 1] and "2.0–4.0 s" in drawn["name"]
    assert drawn["legend"]["out"] == "stands out in this span (q ≤ 0.10)"
    assert charts.describe_curve(made, NORMALISED, None, {}, None, None)["track"]["out"] == [0, 0, 0]
    # A low q-value of a score that is not positive is no influence.
    mixed = charts.describe_curve(ranking([3.0, 0.0, -1], decoys=[-2.0], q=0.08), NORMALISED, SPAN, {}, None, None)
    assert mixed["track"]["out"] == [1, 0, 0]
    none = charts.describe_curve(ranking([0.0, -1], decoys=[-2.0], q=0.08), NORMALISED, SPAN, {}, None, None)
    assert none["track"]["out"] == [0, 0] and none["legend"]["out"] is None


def test_marks_place_tracks_between_samples():
    made = large()
    far, decoy = made.at(54_321), made.at(7_777, decoy=True)
    drawn = charts.describe_curve(made, NORMALISED, None, {far: "Far"}, far, None, [decoy, far, 999_999])
    assert far not in drawn["track"]["id"]
    assert drawn["marks"][str(far)]["place"] == 54_321 and drawn["marks"][str(far)]["title"] == "Far"
    assert drawn["marks"][str(decoy)]["place"] == 7_777 and drawn["marks"][str(decoy)]["decoy"] is True
    assert len(drawn["marks"]) == 2


def test_titled_names_the_first_of_both_kinds():
    made = large()
    ids = charts.list_titled(made)
    assert ids[:60] == made.first(60) and ids[60:] == [made.at(place, True) for place in range(1, 21)]
    assert charts.list_titled(ranking([])) == []


def test_shares_against_a_naive_sum():
    rng = np.random.default_rng(4)
    train = sorted(rng.normal(size=500), reverse=True)
    counts, held = charts.list_shares(ranking(train, list(rng.normal(2, 1, size=50))))
    positive = [max(0.0, value) for value in train]
    assert counts == [1, 10, 100]
    assert held == pytest.approx([sum(positive[:n]) / sum(positive) for n in counts], abs=1e-4)
    assert charts.list_shares(ranking([2.0, 1, 1])) == ([1, 3], [0.5, 1.0])
    assert charts.list_shares(ranking([-1.0], decoys=[3.0])) == ([1], [None])


def test_on_a_store(store, made):
    """Numbers of the page agree with those that the store was published with, and nothing is said to be owed."""
    summaries = store.scores.read_summaries(1)
    for clip_id, about in summaries.items():
        for order, shares in ((NORMALISED, about.shares_norm), (RAW, about.shares_raw)):
            scored = rank_clip(store, 1, clip_id, order)
            counts, held = charts.list_shares(scored)
            assert counts == [1, 10, made.TRACKS]
            assert held == pytest.approx([shares[0], shares[1], 1.0], abs=1e-4)
            text = word_concentration(about, scored, order) + word_verdict(about)
            assert "owed" not in text
    first = word_verdict(summaries[1])
    assert first.startswith("4 of 40 training tracks are above noise")
    span = Span(3, 3, 0.5)
    found = rank_span(store, 1, 1, span)
    assert found.first(1) == [made.SPAN_TRACK]
    drawn = charts.describe_curve(found, NORMALISED, span, {}, made.SPAN_TRACK, None)
    assert drawn["marks"][str(made.SPAN_TRACK)]["place"] == 1

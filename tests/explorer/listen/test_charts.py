"""The values that the curve draws."""

from __future__ import annotations

import json

import numpy as np
import pytest

from explorer.listen import charts
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, rank_clip
from explorer.store.spans import rank_span
from explorer.text.numbers import choose_exponent
from explorer.text.verdict import word_concentration, word_verdict
from support.rankings import rank_values

SPAN = Span(3, 4, 1.0)


def large() -> Ranking:
    rng = np.random.default_rng(1)
    train, decoys = rng.standard_t(3, 115_000) * 1e-7, rng.standard_t(3, 10_000) * 1e-7
    return rank_values(list(train), list(decoys), above=40)


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
    drawn = charts.describe_curve(made, NORMALISED, None, dict.fromkeys(range(1, 125_001), title), lanes[0], lanes)
    assert len(json.dumps(drawn, allow_nan=False)) < 50_000
    for name in ("track", "decoy"):
        series = drawn[name]
        assert series["place"] == sorted(series["place"]) and series["place"][-1] == series["count"]
        assert len(series["place"]) == len(series["value"]) == len(series["id"])
    assert len(drawn["track"]["title"]) == 60 and max(map(len, drawn["track"]["title"])) == 60
    assert drawn["power"] and set(drawn["marks"]) == {str(i) for i in lanes}


def test_every_sample_is_the_track_at_its_place():
    made = large()
    drawn = charts.describe_curve(made, NORMALISED, None, {}, None)
    value = dict(zip(made.track_id.tolist(), made.value.tolist(), strict=True))
    unit = 10.0 ** choose_exponent(made.value)
    for name, decoy in (("track", False), ("decoy", True)):
        series = drawn[name]
        for place, shown, track_id in zip(series["place"], series["value"], series["id"], strict=True):
            assert made.at(place, decoy) == track_id
            assert shown == pytest.approx(value[track_id] / unit, rel=1e-3)


def test_decoys_stand_where_as_many_decoys_as_tracks_would():
    drawn = charts.describe_curve(rank_values([9.0, 7, 5, 3, 2, 1, 0, -1], decoys=[8.0, 4]), NORMALISED, None, {}, None)
    assert drawn["decoy"]["place"] == [1, 2] and drawn["decoy"]["at"] == [4.0, 8.0]
    assert drawn["track"]["place"] == [1, 2, 3, 4, 5, 6, 7, 8]
    more = charts.describe_curve(rank_values([9.0], decoys=[8.0, 4]), NORMALISED, None, {}, None)
    assert more["decoy"]["at"] == [0.5, 1.0]
    none = charts.describe_curve(rank_values([9.0]), NORMALISED, None, {}, None)
    assert none["decoy"]["at"] == [] and none["legend"]["decoy"] is None and "No decoys" in none["caption"]


def test_axis_spans_three_decades_of_positive_values():
    drawn = charts.describe_curve(rank_values([100.0, 1.0, 0.05, 0.0, -3.0]), NORMALISED, None, {}, None)
    assert (drawn["low"], drawn["high"], drawn["cut"]) == (0.1, 100.0, True)
    close = charts.describe_curve(rank_values([8.0, 2.0, -3.0]), NORMALISED, None, {}, None)
    assert (close["low"], close["high"], close["cut"]) == (2.0, 8.0, False)
    nothing = charts.describe_curve(rank_values([0.0, -2.0], decoys=[-1.0]), NORMALISED, None, {}, None)
    assert nothing["low"] is nothing["high"] is None and nothing["shares"] == [None, None]
    empty = charts.describe_curve(rank_values([]), NORMALISED, None, {}, None)
    assert empty["track"]["count"] == 0 and empty["counts"] == [] and empty["caption"] == ""


def test_what_is_above_noise_is_marked_and_said():
    made = rank_values([3.0, 2, 1], decoys=[0.5], above=2)
    for order in (NORMALISED, RAW):
        drawn = charts.describe_curve(made, order, None, {}, None)
        assert drawn["track"]["out"] == [1, 1, 0] and drawn["legend"]["none"] is None
    assert charts.describe_curve(made, NORMALISED, SPAN, {}, None)["legend"]["none"] is None
    none = charts.describe_curve(rank_values([3.0, 2, 1]), NORMALISED, None, {}, None)
    assert none["legend"]["none"] == "no track is above noise" and none["legend"]["out"] is None
    assert "threshold" not in none


def test_readouts_say_which_places_the_error_allows():
    made = rank_values([3.0, 2, 1], decoys=[0.5], error=np.array([0.6, 0.1, 0.0, 0.0]))
    drawn = charts.describe_curve(made, NORMALISED, None, {}, 1)
    assert drawn["track"]["may"] == ["1–2", "2", "3"] and drawn["marks"]["1"]["may"] == "1–2"
    untested = rank_values([3.0], q=float("nan"))
    assert charts.describe_curve(untested, NORMALISED, None, {}, None)["track"]["q"] == [""]


def test_in_a_span_the_q_value_marks_what_stands_out():
    made = rank_values([3.0, 2, 1], decoys=[0.5], above=0, q=0.08)
    drawn = charts.describe_curve(made, NORMALISED, SPAN, {}, None)
    assert drawn["track"]["out"] == [1, 1, 1] and "2.0–4.0 s" in drawn["name"]
    assert drawn["legend"]["out"] == "stands out in this span (q ≤ 0.10)"
    assert charts.describe_curve(made, NORMALISED, None, {}, None)["track"]["out"] == [0, 0, 0]
    none = charts.describe_curve(rank_values([3.0, -1], decoys=[-2.0], q=float("nan")), NORMALISED, SPAN, {}, None)
    assert none["track"]["out"] == [0, 0] and none["legend"]["out"] is None  # not tested


def test_marks_place_tracks_between_samples():
    made = large()
    far, decoy = made.at(54_321), made.at(7_777, decoy=True)
    drawn = charts.describe_curve(made, NORMALISED, None, {far: "Far"}, far, [decoy, far, 999_999])
    assert far not in drawn["track"]["id"]
    assert drawn["marks"][str(far)]["place"] == 54_321 and drawn["marks"][str(far)]["title"] == "Far"
    assert drawn["marks"][str(decoy)]["place"] == 7_777 and drawn["marks"][str(decoy)]["decoy"] is True
    assert len(drawn["marks"]) == 2


def test_titled_names_the_first_of_both_kinds():
    made = large()
    ids = charts.list_titled(made)
    assert ids[:60] == made.first(60) and ids[60:] == [made.at(place, True) for place in range(1, 21)]
    assert charts.list_titled(rank_values([])) == []


def test_shares_against_a_naive_sum():
    rng = np.random.default_rng(4)
    train = sorted(rng.normal(size=500), reverse=True)
    counts, held = charts.list_shares(rank_values(train, list(rng.normal(2, 1, size=50))))
    positive = [max(0.0, value) for value in train]
    assert counts == [1, 10, 100]
    assert held == pytest.approx([sum(positive[:n]) / sum(positive) for n in counts], abs=1e-4)
    assert charts.list_shares(rank_values([2.0, 1, 1])) == ([1, 3], [0.5, 1.0])
    assert charts.list_shares(rank_values([-1.0], decoys=[3.0])) == ([1], [None])


def test_on_a_store(store, made):
    """Numbers of the page agree with those that the store was published with, and nothing is said to be owed."""
    summaries = store.scores.read_summaries(1)
    for clip_id, about in summaries.items():
        for order, shares in ((NORMALISED, about.shares_norm), (RAW, about.shares_raw)):
            scored = rank_clip(store, 1, clip_id, order)
            counts, held = charts.list_shares(scored)
            assert counts == [1, 10, made.TRACKS]
            assert held == pytest.approx([shares[0], shares[1], 1.0], abs=1e-4)
            text = word_concentration(about, scored, order) + " ".join(word_verdict(about, scored.bins))
            assert "owed" not in text
    first = word_verdict(summaries[1], store.claims.read_bins(1, 1))[0]
    assert first == "4 of 18 candidates stand above noise for this clip."
    span = Span(3, 3, 0.5)
    found = rank_span(store, 1, 1, span)
    assert found.first(1) == [made.SPAN_TRACK]
    drawn = charts.describe_curve(found, NORMALISED, span, {}, made.SPAN_TRACK)
    assert drawn["marks"][str(made.SPAN_TRACK)]["place"] == 1

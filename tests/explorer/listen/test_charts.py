"""What the curve draws and what the sentences say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from explorer.listen import charts
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, q_values, rank_clip, rank_span
from explorer.store.records import Summary
from explorer.text.numbers import choose_exponent, format_percent, format_power
from explorer.text.verdict import word_caution, word_concentration, word_control, word_span, word_verdict

SPAN = Span(3, 4, 1.0)


def ranking(train: list[float], decoys: list[float] = (), above: int = 0, q: float | None = None) -> Ranking:
    """Tracks are 1, 2 ... in the order given, decoys go on from there; the `above` best tracks are above noise."""
    value = np.array([*train, *decoys], dtype=float)
    is_decoy = np.arange(len(value)) >= len(train)
    order = np.argsort(-value, kind="stable")
    flags = ~is_decoy[order] & (np.cumsum(~is_decoy[order]) <= above)
    rate = np.full(len(value), q) if q is not None else q_values(value[order], is_decoy[order])
    return Ranking(order.astype(np.int32) + 1, is_decoy[order], value[order], rate, flags)


def summary(tracks: int = 5, decoys: int = 0, above: int = 0, raw: int = 0, norm: int = 0, swapped: int = 0) -> Summary:
    return Summary(1, tracks, decoys, above, 0, None, raw, norm, (None,) * 3, (None,) * 3, 1.0, 0.5, swapped, ())


def large() -> Ranking:
    rng = np.random.default_rng(1)
    train, decoys = rng.standard_t(3, 115_000) * 1e-7, rng.standard_t(3, 10_000) * 1e-7
    return ranking(list(train), list(decoys), above=40)


def test_sampled_places():
    assert charts.sampled_places(0).tolist() == []
    assert charts.sampled_places(7).tolist() == list(range(1, 8))
    places = charts.sampled_places(115_000)
    assert places[:100].tolist() == list(range(1, 101))
    assert places[-1] == 115_000 and (np.diff(places) > 0).all() and 380 <= places.size <= 400
    decoys = charts.sampled_places(10_000, charts.EVERY_DECOY_TO, charts.LOG_DECOYS)
    assert decoys[:40].tolist() == list(range(1, 41))
    assert decoys[-1] == 10_000 and 140 <= decoys.size <= 160


@pytest.mark.parametrize("title", ["a" * 500, "\N{HIRAGANA LETTER A}" * 500])
def test_payload_of_a_large_corpus_stays_small(title):
    made = large()
    lanes = [int(i) for i in made.track_id[[50_000, 124_999]]]
    drawn = charts.curve(made, NORMALISED, None, dict.fromkeys(range(1, 125_001), title), lanes[0], 3e-7, lanes)
    assert len(json.dumps(drawn, allow_nan=False)) < 50_000
    for name in ("track", "decoy"):
        series = drawn[name]
        assert series["place"] == sorted(series["place"]) and series["place"][-1] == series["count"]
        assert len(series["place"]) == len(series["value"]) == len(series["id"])
    assert len(drawn["track"]["title"]) == 60 and max(map(len, drawn["track"]["title"])) == 60
    assert drawn["power"] and set(drawn["marks"]) == {str(i) for i in lanes}


def test_every_sample_is_the_track_at_its_place():
    made = large()
    drawn = charts.curve(made, NORMALISED, None, {}, None, None)
    value = dict(zip(made.track_id.tolist(), made.value.tolist(), strict=True))
    unit = 10.0 ** choose_exponent(made.value)
    for name, decoy in (("track", False), ("decoy", True)):
        series = drawn[name]
        for place, shown, track_id in zip(series["place"], series["value"], series["id"], strict=True):
            assert made.at(place, decoy) == track_id
            assert shown == pytest.approx(value[track_id] / unit, rel=1e-3)


def test_decoys_stand_where_as_many_decoys_as_tracks_would():
    drawn = charts.curve(ranking([9.0, 7, 5, 3, 2, 1, 0, -1], decoys=[8.0, 4]), NORMALISED, None, {}, None, None)
    assert drawn["decoy"]["place"] == [1, 2] and drawn["decoy"]["at"] == [4.0, 8.0]
    assert drawn["track"]["place"] == [1, 2, 3, 4, 5, 6, 7, 8]
    more = charts.curve(ranking([9.0], decoys=[8.0, 4]), NORMALISED, None, {}, None, None)
    assert more["decoy"]["at"] == [0.5, 1.0]
    none = charts.curve(ranking([9.0]), NORMALISED, None, {}, None, None)
    assert none["decoy"]["at"] == [] and none["legend"]["decoy"] is None and "No decoys" in none["caption"]


def test_axis_spans_three_decades_of_positive_values():
    drawn = charts.curve(ranking([100.0, 1.0, 0.05, 0.0, -3.0]), NORMALISED, None, {}, None, None)
    assert (drawn["low"], drawn["high"], drawn["cut"]) == (0.1, 100.0, True)
    close = charts.curve(ranking([8.0, 2.0, -3.0]), NORMALISED, None, {}, None, None)
    assert (close["low"], close["high"], close["cut"]) == (2.0, 8.0, False)
    nothing = charts.curve(ranking([0.0, -2.0], decoys=[-1.0]), NORMALISED, None, {}, None, None)
    assert nothing["low"] is nothing["high"] is None and nothing["shares"] == [None, None]
    empty = charts.curve(ranking([]), NORMALISED, None, {}, None, None)
    assert empty["track"]["count"] == 0 and empty["counts"] == [] and empty["caption"] == ""


def test_threshold_is_drawn_only_where_it_means_something():
    made = ranking([3.0, 2, 1], decoys=[0.5], above=2)
    assert charts.curve(made, NORMALISED, None, {}, None, 2.0)["threshold"] == 2.0
    assert charts.curve(made, NORMALISED, None, {}, None, 2.0)["legend"]["line"] == "least score above noise"
    for order, span in ((RAW, None), (NORMALISED, SPAN)):
        drawn = charts.curve(made, order, span, {}, None, 2.0)
        assert drawn["threshold"] is None and drawn["legend"]["line"] is None
    # Where decoys alone meet the criteria there is a threshold, and yet nothing above it.
    none = charts.curve(ranking([3.0, 2, 1]), NORMALISED, None, {}, None, 2.0)
    assert none["threshold"] is None and none["legend"]["line"] == "no score is above noise"
    assert none["legend"]["out"] is None


def test_in_a_span_the_q_value_marks_what_stands_out():
    made = ranking([3.0, 2, 1], decoys=[0.5], above=0, q=0.08)
    drawn = charts.curve(made, NORMALISED, SPAN, {}, None, None)
    assert drawn["track"]["out"] == [1, 1, 1] and "2.0–4.0 s" in drawn["name"]
    assert drawn["legend"]["out"] == "stands out in this span (q ≤ 0.10)"
    assert charts.curve(made, NORMALISED, None, {}, None, None)["track"]["out"] == [0, 0, 0]
    # A low q-value of a score that is not positive is no influence.
    mixed = charts.curve(ranking([3.0, 0.0, -1], decoys=[-2.0], q=0.08), NORMALISED, SPAN, {}, None, None)
    assert mixed["track"]["out"] == [1, 0, 0]
    none = charts.curve(ranking([0.0, -1], decoys=[-2.0], q=0.08), NORMALISED, SPAN, {}, None, None)
    assert none["track"]["out"] == [0, 0] and none["legend"]["out"] is None


def test_marks_place_tracks_between_samples():
    made = large()
    far, decoy = made.at(54_321), made.at(7_777, decoy=True)
    drawn = charts.curve(made, NORMALISED, None, {far: "Far"}, far, None, [decoy, far, 999_999])
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
    counts, held = charts.shares(ranking(train, list(rng.normal(2, 1, size=50))))
    positive = [max(0.0, value) for value in train]
    assert counts == [1, 10, 100]
    assert held == pytest.approx([sum(positive[:n]) / sum(positive) for n in counts], abs=1e-4)
    assert charts.shares(ranking([2.0, 1, 1])) == ([1, 3], [0.5, 1.0])
    assert charts.shares(ranking([-1.0], decoys=[3.0])) == ([1], [None])


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *((0.0, "0 %"), (0.0004, "less than 0.1 %"), (0.032, "3.2 %"), (0.41, "41 %"), (0.0996, "10 %")),
        *((0.994, "more than 99 %"), (0.99, "99 %"), (1.0, "100 %")),
    ],
)
def test_percent(share, text):
    assert format_percent(share) == text


def test_verdict_words():
    assert word_verdict(summary(above=0)).startswith("Nothing is above noise for this clip")
    assert word_verdict(summary(above=1)) == (
        "1 of 5 training tracks is above noise; the other 4 are not distinguishable from it."
    )
    assert word_verdict(summary(2, above=1)).endswith("the other 1 is not distinguishable from it.")
    assert word_verdict(summary(1, above=1)) == "1 of 1 training track is above noise."
    assert word_verdict(summary(115_000, above=1200)).startswith("1,200 of 115,000 training tracks are above noise")
    assert word_verdict(None) == word_verdict(summary(0)) == "This method did not score this clip."


def test_summary_names_the_fewest_tracks_that_tell():
    flat = [1.0] * 1000
    for first, text in (([900.0], "The first of"), ([200.0] * 3, "The first 3 of"), ([45.0] * 10, "The first 10 of")):
        made = ranking(first + flat)
        said = word_concentration(summary(), made, NORMALISED)
        count = len(first)
        held = sum(first) / (sum(first) + 1000)
        assert said.startswith(f"{text} {len(made.value):,} tracks hold{'s' if count == 1 else ''} ")
        assert f"{format_percent(held)} of the positive score" in said
    assert "The first 10 of 1,000 tracks hold 1.0 %" in word_concentration(summary(), ranking(flat), NORMALISED)


def test_summary_words():
    made = ranking([9.0, 3, 2, 1], decoys=[2.5, 0.5], above=1)
    assert word_concentration(summary(), made, NORMALISED) == (
        "The first of 4 tracks holds 60 % of the positive score; "
        "2 of the best 6 were never heard by the model (2 by chance)."
    )
    one = ranking([float(i) for i in range(30)], decoys=[29.5])
    assert "; 1 of the best 10 was never heard by the model (0.32 by chance)." in word_concentration(
        summary(), one, NORMALISED
    )
    clear = ranking([float(i) for i in range(30)], decoys=[-1.0])
    assert word_concentration(summary(), clear, NORMALISED).endswith(
        "; none of the best 10 is a decoy (0.32 by chance)."
    )
    assert word_concentration(summary(norm=3), made, RAW).endswith(
        "of the positive raw score; 2 of the best 6 by raw score were never heard by the model, "
        "3 by normalised score (2 by chance)."
    )


def test_summary_without_something():
    said = word_concentration(summary(), ranking([1.0]), NORMALISED)
    assert said == "The only track holds 100 % of the positive score."
    assert word_concentration(summary(), ranking([1.0, 0.1]), NORMALISED).startswith("The first of 2 tracks holds 91 %")
    nothing = word_concentration(summary(), ranking([-1.0, -2.0], decoys=[3.0]), RAW)
    assert nothing.startswith("No training track has a positive raw score; 1 of the best 3 by raw score was never")
    assert word_concentration(summary(), ranking([], decoys=[1.0]), NORMALISED) == ""


def test_control_says_where_it_finds_itself():
    text = word_control(ranking([3.0, 2.0], decoys=[9.0]), ranking([1.0, 2.0], decoys=[9.0]), 1, "Waltz")
    assert "“Waltz”" in text and "should find itself first" in text
    assert text.endswith("It is number 1 of 2 by normalised score, 2 by raw score.")
    made = ranking([3.0], decoys=[1.0])
    assert word_control(made, made, 77, "Waltz").endswith("It was not scored.")
    assert word_control(made, made, 2, "Waltz").endswith("It was not scored.")


def test_span_words():
    def said(made: Ranking, above_noise: int = 3) -> str:
        return word_span(made, SPAN, above_noise)

    assert said(ranking([1.0, 2.0], decoys=[0.0], q=0.5)) == (
        "In 2.0–4.0 s: no track stands out from the decoys; this order is no evidence."
    )
    assert said(ranking([1.0, 2.0], decoys=[0.0], q=0.1)) == (
        "In 2.0–4.0 s: 2 tracks stand out from the decoys (q ≤ 0.10). Span scores have no error of their own, "
        "and that there are many spans to try is not corrected for."
    )
    assert said(ranking([1.0, 2.0], decoys=[0.0], q=0.1), above_noise=0) == (
        "In 2.0–4.0 s: 2 tracks stand out from the decoys (q ≤ 0.10). That is no evidence: nothing is above noise "
        "for the whole clip, and there are many spans to try."
    )
    assert "no track stands out" in said(ranking([0.0, -2.0], decoys=[-3.0], q=0.1))
    assert "In 2.0–4.0 s: 1 track stands out" in said(ranking([1.0], decoys=[0.0], q=0.1))
    assert "no decoys were scored" in said(ranking([1.0, 2.0], q=0.05))
    assert said(ranking([], decoys=[1.0])) == "In 2.0–4.0 s: this method scored no track."


def test_no_caution_where_the_exchanged_test_hardly_ever_passes():
    assert word_caution([]) == ""
    assert word_caution([summary(above=0, swapped=0)]) == ""
    assert word_caution([summary(above=10, swapped=1)]) == ""  # 10 % is what the test allows
    assert word_caution([summary(above=0, swapped=2), summary(above=20, swapped=0)]) == ""  # of all clips


def test_caution_says_both_numbers():
    many = word_caution([summary(above=600, swapped=900), summary(above=400, swapped=350)])
    assert many == (
        "Caution: made with the roles exchanged, the same test finds 1,250 decoys, tracks that the model never heard, "
        "over the 2 clips of this store, where it finds 1,000 training tracks. A track that is above noise here is a "
        "lead to listen to, no finding."
    )
    assert "finds 2 decoys" in word_caution([summary(above=19, swapped=2)])
    assert "finds 0 training tracks" in word_caution([summary(above=0, swapped=2)])
    assert " over this clip of this store" in word_caution([summary(above=3, swapped=4)])


def test_power_text():
    assert format_power(-7) == " \N{MULTIPLICATION SIGN} 10⁻⁷"
    assert format_power(choose_exponent(np.array([3.0, -20.0]))) == ""
    assert choose_exponent(np.array([0.0])) == 0 == choose_exponent(np.array([]))
    assert choose_exponent(np.array([-4.2e-7, 1e-9])) == -7


def test_on_a_store(store, made):
    """Numbers of the page agree with those that the store was published with, and nothing is said to be owed."""
    summaries = store.scores.read_summaries(1)
    for clip_id, about in summaries.items():
        for order, shares in ((NORMALISED, about.shares_norm), (RAW, about.shares_raw)):
            scored = rank_clip(store, 1, clip_id, order)
            counts, held = charts.shares(scored)
            assert counts == [1, 10, made.TRACKS]
            assert held == pytest.approx([shares[0], shares[1], 1.0], abs=1e-4)
            text = word_concentration(about, scored, order) + word_verdict(about)
            assert "owed" not in text
    first = word_verdict(summaries[1])
    assert first.startswith("4 of 40 training tracks are above noise")
    span = Span(3, 3, 0.5)
    found = rank_span(store, 1, 1, span)
    assert found.first(1) == [made.SPAN_TRACK]
    drawn = charts.curve(found, NORMALISED, span, {}, made.SPAN_TRACK, None)
    assert drawn["marks"][str(made.SPAN_TRACK)]["place"] == 1

"""Sentences on a clip: the verdict, concentration, controls, spans, how settled an order is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from explorer.store.above_noise import SAME_CAPTION, SAME_STYLE, BinRecord, judge_pairs
from explorer.store.ranking import NORMALISED, RAW, Ranking, Span
from explorer.store.records import Summary
from explorer.text.calibration import Calibration, find_calibration, word_calibration
from explorer.text.claims import word_shortage
from explorer.text.numbers import format_percent
from explorer.text.scores import word_reliability
from explorer.text.verdict import word_concentration, word_control, word_span, word_verdict
from support.rankings import describe_bin, rank_values

SPAN = Span(3, 4, 1.0)


def summary(
    tracks: int = 5, decoys: int = 20, above: int = 0, candidates: int = 5, can_tell: bool = True, norm: int = 0
) -> Summary:
    shares = (None,) * 3
    return Summary(1, tracks, decoys, above, candidates, can_tell, 0, norm, shares, shares, 1.0, 0.5, ())


BINS = (describe_bin(3), describe_bin(2, match_bin=SAME_STYLE))


def verdict(about: Summary | None, bins: tuple[BinRecord, ...] = BINS, measured: Calibration | None = None) -> str:
    return " ".join(word_verdict(about, bins, measured))


def test_a_verdict_names_findings_candidates_and_the_rate_of_error():
    first, rest = word_verdict(summary(above=1), BINS)
    assert first == "1 of 5 candidates stands above noise for this clip."
    assert rest == (
        "Candidates are the training tracks of the clip’s caption or style: here all are. Of such findings at most "
        "10 % are expected to be false."
    )
    many = verdict(summary(115_000, candidates=2400, above=1200))
    assert many.startswith("1,200 of 2,400 candidates stand above noise for this clip. ")
    assert "the other 112,600 are not tested, and have a place only" in many
    assert "the other 1 is not tested, and has a place only" in verdict(summary(6, above=2))
    measured = verdict(summary(above=2), measured=Calibration(0.09, 0.05, 0.15))
    assert measured.endswith(
        "at most 10 % are expected to be false; measured with decoys in the place of tracks, where every finding is "
        "false: 9.0 % of clips have one (95 % interval 5.0 % to 15 %)."
    )


def test_a_verdict_tells_nothing_from_not_known():
    assert verdict(summary()).startswith(
        "Nothing is above noise for this clip: none of 5 candidates stands out from decoys, tracks that the model "
        "never heard. The order below is no evidence of influence."
    )
    assert "the only candidate does not stand out" in verdict(summary(candidates=1))
    scarce = (
        describe_bin(3, False, null_rows=24, null_works=8),
        describe_bin(2, False, match_bin=SAME_STYLE, decoys=4),
    )
    silent = verdict(summary(can_tell=False), scarce)
    assert silent.startswith(
        "Cannot tell for this clip: there are too few decoys of its caption and style for 5 candidates."
    )
    assert (
        "Too few decoys for a lone track to be found: of the same caption there are 3 candidates against 24 "
        "comparisons with decoys, from 8 works (at least 29); of the same style there are 2 candidates, but 4 decoys "
        "for this clip (at least 5)." in silent
    )
    half = (describe_bin(3), describe_bin(2, False, match_bin=SAME_STYLE, null_rows=12, null_works=1))
    assert (
        "Too few decoys for a lone track to be found: of the same style there are 2 candidates against 12 comparisons"
        in verdict(summary(), half)
    )
    assert "from 1 work (at least 39)." in verdict(summary(above=1), half)
    assert verdict(summary(candidates=0, can_tell=False), ()).startswith("Nothing was tested for this clip")
    assert verdict(summary(decoys=0, candidates=5, can_tell=False), ()).startswith("No decoys were scored")
    assert verdict(None) == verdict(summary(0)) == "This method did not score this clip."


def test_how_many_decoys_it_takes_is_what_the_test_itself_says():
    """The number that is said to be needed is the least with which `judge_pairs` could find a lone track."""
    rng = np.random.default_rng(1)
    decoys, candidates = 6, 3
    for rows, can_tell in ((28, False), (29, True)):
        clips = -(-rows // decoys)
        bins = np.full((clips, candidates + decoys), SAME_CAPTION)
        bins[-1, candidates + decoys - (clips * decoys - rows) :] = 0  # the last clip has fewer
        is_decoy = np.arange(candidates + decoys) >= candidates
        score = rng.normal(size=bins.shape)
        score[-1] = score[0]
        record = judge_pairs(
            score, np.zeros((1, len(is_decoy))), bins, is_decoy, np.arange(len(is_decoy)), 1, np.ones(clips, bool)
        ).bins[0]
        if record.null_rows != rows:
            continue  # too few in the last clip to be centred
        assert record.can_tell == can_tell == (word_shortage([record]) == "")


def test_the_kept_calibration_is_read_with_care():
    row = {"method": "a", "split": "works", "clips_with_finding": 0.08, "low": 0.03, "high": 0.2}
    assert find_calibration({"calibration": json.dumps({"rows": [{}, 3, row]})}, "a") == (0.08, 0.03, 0.2, None)
    fires = find_calibration({"calibration": json.dumps({"rows": [{**row, "could_fire": 0.75}]})}, "a")
    assert fires == (0.08, 0.03, 0.2, 0.75)
    assert word_calibration(fires).endswith("a lone track could have been found for 75 % of them)")
    for other in (
        *({}, {"calibration": "["}, {"calibration": "[1]"}, {"calibration": '{"rows": 1}'}),
        *(
            {"calibration": json.dumps({"rows": [{**row, **wrong}]})}
            for wrong in (
                {"method": "b"},
                {"split": "tracks"},
                {"low": None},
                {"high": 9},
                {"clips_with_finding": True},
                {"low": 0.5},
            )
        ),
    ):
        assert find_calibration(other, "a") is None
    assert word_calibration(None) == ""


def test_summary_names_the_fewest_tracks_that_tell():
    flat = [1.0] * 1000
    for first, text in (([900.0], "The first of"), ([200.0] * 3, "The first 3 of"), ([45.0] * 10, "The first 10 of")):
        made = rank_values(first + flat)
        said = word_concentration(summary(), made, NORMALISED)
        count = len(first)
        held = sum(first) / (sum(first) + 1000)
        assert said.startswith(f"{text} {len(made.value):,} tracks hold{'s' if count == 1 else ''} ")
        assert f"{format_percent(held)} of the positive score" in said
    assert "The first 10 of 1,000 tracks hold 1.0 %" in word_concentration(summary(), rank_values(flat), NORMALISED)


def test_summary_words():
    made = rank_values([9.0, 3, 2, 1], decoys=[2.5, 0.5], above=1)
    assert word_concentration(summary(), made, NORMALISED) == (
        "The first of 4 tracks holds 60 % of the positive score; "
        "2 of the best 6 were never heard by the model (2 by chance)."
    )
    one = rank_values([float(i) for i in range(30)], decoys=[29.5])
    assert "; 1 of the best 10 was never heard by the model (0.32 by chance)." in word_concentration(
        summary(), one, NORMALISED
    )
    clear = rank_values([float(i) for i in range(30)], decoys=[-1.0])
    assert word_concentration(summary(), clear, NORMALISED).endswith(
        "; none of the best 10 is a decoy (0.32 by chance)."
    )
    assert word_concentration(summary(norm=3), made, RAW).endswith(
        "of the positive raw score; 2 of the best 6 by raw score were never heard by the model, "
        "3 by normalised score (2 by chance)."
    )


def test_summary_without_something():
    said = word_concentration(summary(), rank_values([1.0]), NORMALISED)
    assert said == "The only track holds 100 % of the positive score."
    assert word_concentration(summary(), rank_values([1.0, 0.1]), NORMALISED).startswith(
        "The first of 2 tracks holds 91 %"
    )
    nothing = word_concentration(summary(), rank_values([-1.0, -2.0], decoys=[3.0]), RAW)
    assert nothing.startswith("No training track has a positive raw score; 1 of the best 3 by raw score was never")
    assert word_concentration(summary(), rank_values([], decoys=[1.0]), NORMALISED) == ""


def test_control_says_where_it_finds_itself():
    text = word_control(rank_values([3.0, 2.0], decoys=[9.0]), rank_values([1.0, 2.0], decoys=[9.0]), 1, "Waltz")
    assert "“Waltz”" in text and "should find itself first" in text
    assert text.endswith("Its place is 1 of 2 by normalised score, 2 by raw score.")
    wide = rank_values([3.0, 2.0], decoys=[9.0], error=np.ones(3))
    assert "Its place is 1–2 of 2 by normalised score, 1–2 by" in word_control(wide, wide, 1, "Waltz")
    made = rank_values([3.0], decoys=[1.0])
    assert word_control(made, made, 77, "Waltz").endswith("It was not scored.")
    assert word_control(made, made, 2, "Waltz").endswith("It was not scored.")


def test_span_words():
    def said(made: Ranking, above_noise: int = 3) -> str:
        return " ".join(word_span(made, SPAN, above_noise))

    assert said(rank_values([1.0, 2.0], decoys=[0.0], q=0.5)) == (
        "In 2.0–4.0 s: none of 5 candidates stands out from decoys; this order is no evidence."
    )
    assert said(rank_values([1.0, 2.0], decoys=[0.0], q=0.1)) == (
        "In 2.0–4.0 s: 2 of 5 candidates stand out from decoys (q ≤ 0.10). A span has no error of its own, "
        "and that there are many spans to try is not corrected for."
    )
    assert said(rank_values([1.0, 2.0], decoys=[0.0], q=0.1), above_noise=0) == (
        "In 2.0–4.0 s: 2 of 5 candidates stand out from decoys (q ≤ 0.10). That is no evidence: nothing is above noise "
        "for the whole clip, and there are many spans to try."
    )
    assert "In 2.0–4.0 s: 1 of 5 candidates stands out" in said(rank_values([1.0], decoys=[0.0], q=0.1))
    assert "no decoys were scored" in said(rank_values([1.0, 2.0], q=0.05))
    assert said(rank_values([], decoys=[1.0])) == "In 2.0–4.0 s: this method scored no track."
    untested = rank_values([1.0], decoys=[0.0], q=float("nan"), bins=())
    assert "no training track has the clip’s caption or style, so none is tested" in said(untested)
    scarce = rank_values([1.0], decoys=[0.0], q=1.0, bins=(describe_bin(1, False, null_rows=3),))
    assert said(scarce).startswith(
        "In 2.0–4.0 s: cannot tell, too few decoys; this order is no evidence. Too few decoys for a lone track to be "
        "found: of the same"
    )


@pytest.mark.parametrize(("value", "end"), [(0.93, "0.93 (1: the same order)."), (0.9, "0.90 (1: the same order).")])
def test_a_settled_order(value, end):
    assert word_reliability(value) == f"Rankings by two halves of the draws agree at {end}"


def test_an_order_that_is_not_settled_says_so():
    assert word_reliability(0.62).endswith(
        "0.62 (1: the same order): the order is not settled, and is to be read with care."
    )
    assert word_reliability(None) == ""

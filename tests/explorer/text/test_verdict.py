"""Sentences on a clip: the verdict, concentration, controls, spans, caution."""

from __future__ import annotations

import numpy as np

from explorer.store.ranking import NORMALISED, RAW, Ranking, Span, compute_q_values
from explorer.store.records import Summary
from explorer.text.numbers import format_percent
from explorer.text.verdict import word_caution, word_concentration, word_control, word_span, word_verdict

SPAN = Span(3, 4, 1.0)


def ranking(train: list[float], decoys: list[float] = (), above: int = 0, q: float | None = None) -> Ranking:
    """Tracks are 1, 2 ... in the order given, decoys go on from there; the `above` best tracks are above noise."""
    value = np.array([*train, *decoys], dtype=float)
    is_decoy = np.arange(len(value)) >= len(train)
    order = np.argsort(-value, kind="stable")
    flags = ~is_decoy[order] & (np.cumsum(~is_decoy[order]) <= above)
    rate = np.full(len(value), q) if q is not None else compute_q_values(value[order], is_decoy[order])
    return Ranking(order.astype(np.int32) + 1, is_decoy[order], value[order], rate, flags)


def summary(tracks: int = 5, decoys: int = 0, above: int = 0, raw: int = 0, norm: int = 0, swapped: int = 0) -> Summary:
    return Summary(1, tracks, decoys, above, 0, None, raw, norm, (None,) * 3, (None,) * 3, 1.0, 0.5, swapped, ())


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

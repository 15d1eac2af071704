"""The two claims in words: each kind of pair, each kind of track, hubs, and what p-values rest on."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.store.above_noise import OTHER, SAME_CAPTION, SAME_STYLE
from explorer.store.records import ClipRecord, TrackClaim
from explorer.text import claims
from explorer.text.clips import describe_clip, label_clip, word_model
from explorer.text.numbers import format_error_rate, format_places
from support.rankings import describe_bin, make_ranking


def word(above: bool = False, is_decoy: bool = False, p: float = 0.2, match_bin: int = SAME_CAPTION, **other) -> str:
    fields = {"p_value": np.array([p]), "match_bin": np.array([match_bin], np.uint8), **other}
    q_value = float("nan") if is_decoy or np.isnan(p) else 10 * p
    return claims.word_pair(make_ranking([1], [1.0], [is_decoy], [above], q_value, **fields), 0)


def test_what_is_said_of_a_pair():
    rests = "The p-value rests on 264 comparisons with decoys of the same caption, over all clips, from 40 works."
    assert word(True, p=0.004) == f"Shaped this clip: above noise (p 0.004, q 0.04). {rests}"
    assert word(p=0.05) == f"Shaped this clip: not distinguishable from noise (p 0.05, q 0.50). {rests}"
    assert word(p=np.nan, match_bin=OTHER) == (
        "Shaped this clip: not tested, as neither its caption nor its style matches the clip; it has a place only."
    )
    assert word(p=np.nan, match_bin=SAME_STYLE) == (
        "Shaped this clip: cannot tell, as there are too few decoys of the same style."
    )
    scarce = describe_bin(3, False, null_rows=24, null_works=1)
    assert word(p=0.04, bins=(scarce,)).endswith("from 1 work.") and "cannot tell" in word(p=0.04, bins=(scarce,))
    assert word(True, p=0.04, bins=(scarce,)).startswith("Shaped this clip: above noise")  # several together were found
    assert word(is_decoy=True) == "A decoy: the model never heard it. Among decoys of the same caption: p 0.20."
    assert word(is_decoy=True, p=np.nan) == "A decoy: the model never heard it."


def test_a_span_has_its_own_claim():
    assert word(False, p=0.008, error=None).startswith("Shaped this span: above noise (p 0.008, q 0.08)")
    assert word(True, p=0.05, error=None).startswith("Shaped this span: not distinguishable from noise")


def claim(above: bool = False, q: float = 0.5, clips_above: int = 0, hub: bool = False) -> TrackClaim:
    return TrackClaim(1.0, q / 10, q, above, clips_above, 40, hub)


def test_what_is_said_of_a_track():
    assert claims.word_track(claim(True, 0.04), False) == (
        "Shaped the model: above noise (p 0.004, q 0.04), by its mean over all clips; this says nothing of any one "
        "clip."
    )
    assert "the model before it was tuned: not distinguishable" in claims.word_track(claim(), True)
    assert claims.word_track(None, False) == claims.word_track(claim(q=np.nan), False) == ""
    assert [claims.label_track(one) for one in (claim(True), claim(), claim(q=np.nan), None)] == [
        *("above noise", "not distinguishable from noise", "–", "–")
    ]


def test_hubs_are_marked():
    hub = claim(clips_above=12, hub=True)
    assert claims.word_hub(hub) == (
        "A hub: above noise for 12 of 40 generated clips, so its place says less about any one of them."
    )
    assert claims.label_hub(hub) == claims.word_model_claim(hub) == "hub: above noise for 12 of 40 clips"
    assert claims.word_hub(claim(clips_above=12)) == claims.label_hub(None) == ""
    assert claims.word_model_claim(claim(True)) == "shaped the model: above noise"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "–"), (np.nan, "–"), (1.0, "1.00"), (0.04, "0.04"), (0.004, "0.004"), (0.0001, "< 0.001")),
        *((float(np.float32(0.1)), "0.10"), (0.1049, "0.105"), (0.0951, "0.095")),
    ],
)
def test_rates_of_error(value, text):
    assert format_error_rate(value) == text


def test_places():
    assert [format_places(1, 1), format_places(1, 3), format_places(998, 1200)] == ["1", "1–3", "998–1,200"]


@pytest.mark.parametrize(
    ("note", "text"),
    [
        ("tuned on four recordings: A, B", "This clip comes from a model tuned on four recordings: A, B."),
        ("four recordings were added.", "This clip comes from a tuned model: four recordings were added."),
        (None, "This clip comes from a tuned model."),
    ],
)
def test_a_tuned_model_is_named(note, text):
    clip = ClipRecord(5, "generated", None, "a reel", 3, 7.0, None, 2, note)
    assert word_model(clip) == text
    assert label_clip(clip) == "Generated clip, tuned model, 5 · a reel"
    assert describe_clip(clip) == "generated clip · 7.0 s · seed 3 · from a tuned model"
    assert word_model(ClipRecord(1, "generated", None, "a reel", 3, 7.0, None)) == ""

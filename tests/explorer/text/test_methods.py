"""Sentences about each method: cost, settings, how it did on decoys and planted truths."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd

from explorer.store.records import Diagnostic, MethodRecord, SkippedMethod, Summary
from explorer.text import methods
from explorer.text.calibration import Calibration
from explorer.text.numbers import format_duration


def summary(decoys: int = 40, norm: int = 1, above: int = 0, can_tell: bool = True, auc: float | None = 0.6) -> Summary:
    return Summary(1, 40, decoys, above, 12, can_tell, 9, norm, (None,) * 3, (None,) * 3, 1.0, auc, ())


def test_a_record_says_better_or_worse_than_chance():
    said = methods.word_record([], [summary(), summary()], [1, 1, 3, None], [])
    assert said[0].startswith("Decoys: by normalised score 10 % of the first ten were never heard by the model, 50 %")
    assert said[0].endswith("; better than chance.")
    assert "by raw score 90 %" in said[1] and "worse than chance" in said[1]
    assert "60 % of pairs" in said[2] and said[3] == "Above noise: none of 24 candidates over 2 clips."
    assert said[4] == "Planted truths: 2 of 4 training tracks that were unlearned themselves find themselves first."
    kept = [Diagnostic(1, "decoys_top10_norm", 0.9, ""), Diagnostic(5, "decoys_top10_norm", 0.5, "")]
    assert "50 % of the first ten" in methods.word_record(kept, [summary()], [], [])[0]
    assert "no better than chance" in methods.word_record(kept, [summary()], [], [])[0]
    clips = [summary(above=4), summary(can_tell=False)]
    told = methods.word_record([], clips, [], [], Calibration(0.08, 0.03, 0.2))
    assert told[3] == (
        "Above noise: 4 of 24 candidates, for 1 of 2 clips. For 1 clip it cannot tell: too few decoys of the same "
        "caption or style."
    )
    assert told[4].startswith("Measured with decoys in the place of tracks") and "8.0 % of clips" in told[4]
    without = methods.word_record([], [summary(decoys=0, auc=None)], [], [])
    assert without[0].startswith("Decoys: none were scored") and without[1].startswith(
        "Planted truths: no training track"
    )


def test_own_places_of_controls():
    frame = pd.DataFrame(
        {
            "clip_id": [101, 102, 102, 1],
            "clip_kind": ["track", "track", "track", "generated"],
            "track_id": [1, 2, 9, 1],
            "target_track_id": [1, 3, 3, pd.NA],
            "train_rank": pd.array([1, 1, 2, 1], dtype="Int64"),
        }
    )
    assert methods.find_own_places(frame) == [1, None]


def test_cost_and_settings_in_words():
    assert methods.word_cost(None, "cpu", 3) == "Cost: not measured."
    assert methods.word_cost(90, "cpu", 30) == "Cost: 1 min 30 s on cpu, 3.0 s a clip."
    assert [format_duration(s) for s in (0.04, 59.6, 60, 3700)] == ["0.0 s", "1 min", "1 min", "1 h 1 min"]
    assert (
        methods.format_settings('{"seed": 1, "mask": "é"}') == 'seed = 1\nmask = "é"'
        and methods.format_settings("x[") == "x["
    )
    rows = (
        '{"rows": [{"method": "a", "truth": "rare", "score": "raw", "name": "found", "value": 0.75}, {"method": "b"}]}'
    )
    assert methods.word_evaluations({"planted": rows, "bad": "[", "list": "[1]"}, "a") == [
        "planted, rare, raw: found 0.75."
    ]
    known = [
        {"method": "a", "truth": "weighted", "score": "raw", "name": "share_above_twin", "value": 0.958},
        {"method": "a", "truth": "rare", "score": "normalised", "name": "success", "value": 1.0},
        {"method": "a", "truth": "rare", "score": "raw", "name": "auc_over_unheard", "value": 0.65},
        {"method": "a", "truth": "exemplars", "score": "raw", "name": "places_gained", "value": 4.25},
    ]
    assert methods.word_evaluations({"planted": json.dumps({"rows": known})}, "a") == [
        "Planted truths: a track drawn more often in training stands above its twin in 96%, 50% by chance (raw score).",
        "Planted truths: of a rare style, a track that was trained on stands above one of the same style and caption"
        " that was not in 65%, 50% by chance (raw score).",
        "Planted truths: a stranger among others under its own caption gains 4.2 places when the model is tuned on it,"
        " 0 by chance (raw score).",
    ]
    facts = [MethodRecord(1, "a", "A", "", False, "{}", 1.0), MethodRecord(2, "b", "B", "", False)]
    facts[0] = replace(facts[0], reliability=0.5)
    shown = methods.list_methods(facts, {}, [SkippedMethod("c", "C", "no checkpoint")], [2], "cpu", 1)
    assert [one["reliability"].endswith("with care.") for one in shown["methods"]] == [False, True]
    assert shown["methods"][0]["reliability"] == ""
    assert [one["name"] for one in shown["methods"]] == ["b", "a"] and shown["skipped"] == ["C (c): no checkpoint"]

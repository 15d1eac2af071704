"""Two methods side by side: places, lines, points, agreement; and what each method's record says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from explorer.methods import cases, comparison
from explorer.store.ranking import Ranking
from explorer.store.records import Agreement, Diagnostic, MethodRecord, ScoreSample, SkippedMethod, Summary
from explorer.text import methods
from explorer.text.numbers import format_duration

A, B = MethodRecord(1, "a", "Method <b>A</b>", "", True), MethodRecord(2, "b", "Method B", "", True)


def ranking(order: list[int], decoys: tuple[int, ...] = (), above: int = 0) -> Ranking:
    """Tracks from the strongest on; those in `decoys` are decoys."""
    ids = np.array(order, dtype=np.int32)
    decoy = np.isin(ids, decoys)
    value = np.linspace(3, -3, len(ids)) if len(ids) else np.zeros(0)
    return Ranking(ids, decoy, value, np.ones(len(ids)), (np.cumsum(~decoy) <= above) & ~decoy)


def large(seed: int) -> Ranking:
    order = np.random.default_rng(seed).permutation(np.arange(1, 125_001))
    return ranking(order.tolist(), tuple(range(115_001, 125_001)), 40)


def test_places_are_counted_among_training_tracks():
    found = comparison.places(ranking([5, 9, 2, 7], decoys=(9,)), np.array([2, 5, 9, 8]))
    assert found.tolist() == [2, 1, 2, 0]
    assert comparison.places(ranking([]), np.array([1])).tolist() == [0]


def test_what_two_rankings_share_stands_beside_chance():
    a = ranking(list(range(1, 101)), above=3)
    same = comparison.pair(a, a, ("A", "B"))
    assert same[0] == "Of the first 10, 10 are the same (1 by chance)."
    assert "1.00 (the same order)" in same[2] and same[3] == "Above noise: 3 by A, 3 by B, 3 by both."
    back = comparison.pair(a, ranking(list(range(100, 0, -1))), ("A", "B"))
    assert back[0].startswith("Of the first 10, 0 are") and "−1.00" in back[2]
    quiet = comparison.pair(ranking([1, 2, 3]), ranking([2, 3, 1]), ("A", "B"))
    assert quiet[-1].startswith("Neither method has a track above noise")
    assert comparison.pair(a, ranking([]), ("A", "B")) == ["B did not score this clip: there is nothing to compare."]


def test_a_column_names_the_place_in_the_other():
    shown = comparison.column(ranking([3, 1, 2]), ranking([1, 2]), "A", {}, {}, {})
    assert shown["rows"] == []  # no titles at hand
    assert len(comparison.column(large(1), large(2), "A", {}, {}, {})["rows"]) == 0


def test_a_scatter_of_many_tracks_is_small():
    made = comparison.scatter(large(1), large(2), {})
    assert len(json.dumps(made)) < 30_000
    assert set(large(1).first(100)) <= set(made["track"]["id"]) and set(large(2).first(100)) <= set(made["track"]["id"])
    at = made["track"]["id"].index(large(1).first(1)[0])
    assert made["track"]["x"][at] == 1


def test_agreement_is_worked_out_where_the_run_kept_none():
    up, noise = np.arange(6.0), np.array([0.0, 3, 1, 4, 2, 5])
    samples = {
        1: ScoreSample(np.array([1, 9]), np.arange(6), np.array([up, up])),
        2: ScoreSample(np.array([1, 9]), np.arange(6), np.array([noise, -up])),
    }
    rows = {"clip_id": [1, 1], "track_id": [1, 2], "train_rank": pd.array([1, 2], dtype="Int64")}
    other = {**rows, "track_id": [2, 3]}
    found = comparison.measured(
        [A, B], {1: pd.DataFrame(rows), 2: pd.DataFrame(other)}, samples, clips={1}
    )  # 9: a control
    assert [(one.method_a, one.method_b) for one in found] == [(1, 2), (2, 1)]
    assert found[0].spearman == pytest.approx(cases.spearman(up, noise)) == found[1].spearman
    assert found[0].pearson == pytest.approx(np.corrcoef(up, noise)[0, 1]) and found[0].top10 == 0.5


def test_the_heat_map_holds_every_pair_and_no_markup():
    pair = [Agreement(1, 2, 0.9, 0.5, 0.2, 0.4), Agreement(2, 1, 0.9, 0.5, 0.2, 0.4)]
    plot = comparison.heat([A, B], pair, "spearman")
    assert plot is not None and "<b>A</b>" not in plot and len(plot) < 10_000
    cells = json.loads(plot)["data"][0]
    assert cells["z"] == [[None, 0.5], [0.5, None]] and cells["zmin"] == -1
    top10 = json.loads(comparison.heat([A, B], pair, "top10") or "")["data"][0]
    assert top10["z"][0][1] == 0.2 and top10["zmin"] == 0
    assert comparison.heat([A], [], "spearman") is None


def summary(decoys: int = 40, norm: int = 1, above: int = 0, swapped: int = 0, auc: float | None = 0.6) -> Summary:
    return Summary(1, 40, decoys, above, 0, None, 9, norm, (None,) * 3, (None,) * 3, 1.0, auc, swapped, ())


def test_a_record_says_better_or_worse_than_chance():
    said = methods.word_record([], [summary(), summary()], [1, 1, 3, None], [])
    assert said[0].startswith("Decoys: by normalised score 10 % of the first ten were never heard by the model, 50 %")
    assert said[0].endswith("; better than chance.")
    assert "by raw score 90 %" in said[1] and "worse than chance" in said[1]
    assert "60 % of pairs" in said[2] and said[3].startswith("Above noise: nothing over 2 clips")
    assert said[4] == "Planted truths: 2 of 4 training tracks that were unlearned themselves find themselves first."
    kept = [Diagnostic(1, "decoys_top10_norm", 0.9, ""), Diagnostic(5, "decoys_top10_norm", 0.5, "")]
    assert "50 % of the first ten" in methods.word_record(kept, [summary()], [], [])[0]
    assert "no better than chance" in methods.word_record(kept, [summary()], [], [])[0]
    assert "the test does not hold" in methods.word_record([], [summary(above=4, swapped=9)], [], [])[3]
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
    shown = methods.list_methods(facts, {}, [SkippedMethod("c", "C", "no checkpoint")], [2], "cpu", 1)
    assert [one["name"] for one in shown["methods"]] == ["b", "a"] and shown["skipped"] == ["C (c): no checkpoint"]

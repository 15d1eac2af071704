"""Two methods on one clip: places, shared tracks, columns, points of the scatter."""

from __future__ import annotations

import json

import numpy as np

from explorer.methods import comparison
from explorer.store.ranking import Ranking
from explorer.store.records import TrackRecord
from explorer.text.comparison import word_reliabilities, word_shared_tracks
from support.rankings import make_ranking


def ranking(order: list[int], decoys: tuple[int, ...] = (), above: int = 0, **other: object) -> Ranking:
    """Tracks from the strongest on; those in `decoys` are decoys."""
    ids = np.array(order, dtype=np.int32)
    decoy = np.isin(ids, decoys)
    value = np.linspace(3, -3, len(ids)) if len(ids) else np.zeros(0)
    return make_ranking(ids, value, decoy, (np.cumsum(~decoy) <= above) & ~decoy, **other)


def word_pair(a: Ranking, b: Ranking, labels: tuple[str, str]) -> list[str]:
    return word_shared_tracks(comparison.compare_rankings(a, b), labels)


def large(seed: int) -> Ranking:
    order = np.random.default_rng(seed).permutation(np.arange(1, 125_001))
    return ranking(order.tolist(), tuple(range(115_001, 125_001)), 40)


def test_places_are_counted_among_training_tracks():
    found = comparison.find_places(ranking([5, 9, 2, 7], decoys=(9,)), np.array([2, 5, 9, 8]))
    assert found.tolist() == [2, 1, 2, 0]
    assert comparison.find_places(ranking([]), np.array([1])).tolist() == [0]


def test_what_two_rankings_share_stands_beside_chance():
    a = ranking(list(range(1, 101)), above=3)
    same = word_pair(a, a, ("A", "B"))
    assert same[0] == "Of the first 10, 10 are the same (1 by chance)."
    assert "1.00 (the same order)" in same[2] and same[3] == "Above noise: 3 by A, 3 by B, 3 by both."
    back = word_pair(a, ranking(list(range(100, 0, -1))), ("A", "B"))
    assert back[0].startswith("Of the first 10, 0 are") and "−1.00" in back[2]
    quiet = word_pair(ranking([1, 2, 3]), ranking([2, 3, 1]), ("A", "B"))
    assert quiet[-1].startswith("Neither method has a track above noise")
    assert word_pair(a, ranking([]), ("A", "B")) == ["B did not score this clip: there is nothing to compare."]


def test_a_column_names_the_place_in_the_other():
    shown = comparison.describe_column(ranking([3, 1, 2]), ranking([1, 2]), "A", {})
    assert shown["rows"] == []  # no titles at hand
    assert len(comparison.describe_column(large(1), large(2), "A", {})["rows"]) == 0


def test_places_in_columns_are_intervals():
    own, other = ranking([3, 1, 2], error=np.array([2.0, 0.1, 0.1])), ranking([1, 2], error=np.array([0.1, 4.0]))
    tracks = {
        i: comparison.ComparedTrack(
            TrackRecord(i, False, None, "t", "c", "k", "r", "l", "s", "piano", 1.0, "full", True), None, None
        )
        for i in (1, 2, 3)
    }
    rows = comparison.describe_column(own, other, "A", tracks)["rows"]
    assert [(row["place"], row["other"]) for row in rows] == [("1–2", None), ("2", "1"), ("3", "1–2")]


def test_methods_whose_order_is_not_settled_are_named():
    assert word_reliabilities(("A", 0.95), ("B", None), ("C", 0.4)) == [
        "A: rankings by two halves of the draws agree at 0.95 (1: the same order).",
        "C: rankings by two halves of the draws agree at 0.40 (1: the same order): the order is not settled, and is to "
        "be read with care.",
    ]


def test_a_scatter_of_many_tracks_is_small():
    made = comparison.choose_points(large(1), large(2), {})
    assert len(json.dumps(made)) < 30_000
    assert set(large(1).first(100)) <= set(made["track"]["id"]) and set(large(2).first(100)) <= set(made["track"]["id"])
    at = made["track"]["id"].index(large(1).first(1)[0])
    assert made["track"]["x"][at] == 1

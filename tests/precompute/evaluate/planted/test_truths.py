"""Planted truths: rows of the report from hand-made scores."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.evaluate.planted import truths
from precompute.evaluate.planted.truths import TwinPair


def places(ranks: list[int], before: list[int], place: list[int], place_before: list[int]) -> dict:
    """A case of one method, raw scores."""
    given = {"ranks": ranks, "ranks_untuned": before, "places": place, "places_untuned": place_before}
    return {name: {"m": {"raw": values}} for name, values in given.items()}


def test_the_share_above_the_twin_is_over_pairs_and_seeds() -> None:
    scores = np.array([[5.0, 1.0, 0.0, 9.0], [0.0, 1.0, 0.0, 9.0], [0.0, 0.0, 3.0, 2.0], [0.0, 0.0, 4.0, 2.0]])
    pairs = [TwinPair(weighted=0, twin=1), TwinPair(weighted=2, twin=3)]  # two seeds each
    assert truths.count_pair_wins(scores, pairs, 2).tolist() == [[1.0, 0.0], [1.0, 1.0]]
    row, chance = truths.judge_weighted({"m": {"raw": scores}}, pairs, 2)
    assert (row["value"], row["low"], row["high"]) == (0.75, 0.5, 1.0)
    assert (chance["method"], chance["value"]) == ("random", 0.5)


def test_a_rare_style_succeeds_with_three_hits_in_all_seeds_but_one() -> None:
    rare = np.arange(40) < 5
    good, poor = np.where(rare, 1.0, 0.0), np.where(rare, 0.0, 1.0)
    by_name = {
        r["name"]: r["value"] for r in truths.judge_rare({"m": {"raw": np.stack([good] * 3 + [poor])}}, rare)[:3]
    }
    assert by_name == {"hits_in_top10": 3.75, "seeds_with_3_hits": 0.75, "success": 1.0}
    rows = truths.judge_rare({"m": {"raw": np.stack([good] * 2 + [poor] * 2)}}, rare)
    assert rows[2]["value"] == 0.0
    assert rows[3] == {"truth": "rare", "method": "random", "score": "", "name": "hits_in_top10", "value": 1.25}


def test_heard_tracks_are_told_from_unheard_ones() -> None:
    heard, unheard = np.arange(40) < 5, np.arange(40) >= 32
    losses = np.where(np.arange(13) < 5, 0.25, 0.5)
    scores = np.stack([np.arange(40, 0, -1.0), np.arange(40, 0, -1.0)])  # the heard first, the unheard last
    rows = {r["name"]: r["value"] for r in truths.judge_unheard({"m": {"raw": scores}}, heard, unheard, losses)[:6]}
    assert rows["auc_over_unheard"] == 1.0
    assert rows["p_value"] == pytest.approx(1 / math.comb(13, 5))  # exact: no other labelling is as good
    assert (rows["alone_in_top10"], rows["unheard_alone_in_top10"]) == (1.0, 0.0)
    assert (rows["mean_heard"], rows["mean_unheard"]) == (0.25, 0.5)


def test_a_caption_alone_does_not_pass_for_hearing() -> None:
    heard, unheard = np.arange(40) < 5, np.arange(40) >= 32
    scores = np.tile(np.where(heard | unheard, 1.0, 0.0), (2, 1)) + np.random.default_rng(0).random((2, 40)) / 2
    rows = {r["name"]: r for r in truths.judge_unheard({"m": {"raw": scores}}, heard, unheard, np.zeros(13))[2:6]}
    assert rows["alone_in_top10"]["value"] == rows["unheard_alone_in_top10"]["value"] == 1.0
    both = scores[:, heard | unheard]
    auc = np.mean([[a > b for a in row[:5] for b in row[5:]] for row in both])
    assert rows["auc_over_unheard"]["value"] == pytest.approx(auc)
    assert rows["p_value"]["value"] > 0.05


def test_exemplar_rows_are_over_exemplars_and_clips() -> None:
    cases = [
        {"rivals": 3, **places([1, 3], [5, 7], [1, 1], [2, 4])},
        {"rivals": 3, **places([20, 40], [10, 10], [2, 2], [3, 3])},
    ]
    rows = {(r["method"], r["name"]): r for r in truths.judge_exemplars(cases, 99)}
    assert rows["m", "mean_rank_untuned"]["value"] == 8.0
    assert (rows["m", "mean_place"]["value"], rows["m", "mean_place_untuned"]["value"]) == (1.5, 3.0)
    gained = rows["m", "places_gained"]
    assert (gained["value"], gained["low"], gained["high"]) == (1.5, 1.0, 2.0)
    assert rows["random", "mean_place"]["value"] == 2.5
    alone = truths.judge_exemplars([{**case, "rivals": 0} for case in cases], 99)
    assert not {r["name"] for r in alone} & {"mean_place", "places_gained"}
    assert rows["m", "mean_rank"]["value"] == 16.0
    assert (rows["m", "mean_rank"]["low"], rows["m", "mean_rank"]["high"]) == (2.0, 30.0)
    assert rows["m", "share_first"]["value"] == 0.25
    assert rows["m", "share_in_top10"]["value"] == 0.5
    assert rows["random", "mean_rank"]["value"] == 50.0


def test_a_weighted_track_without_its_twin_is_told(tracks: list[Track]) -> None:
    alone = [replace(tracks[0], planted="weighted")]
    with pytest.raises(UserError, match="no twin"):
        truths.find_pairs(alone)
    other_caption = replace(tracks[1], planted="twin", matched_to=tracks[0].track_id)
    with pytest.raises(UserError, match="no twin of the same caption"):
        truths.find_pairs([*alone, other_caption])

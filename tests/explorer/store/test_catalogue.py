"""Unlearning a whole catalogue: against naive sums over drawn sets, and that it finds what is there and not more."""

from __future__ import annotations

import time

import duckdb
import numpy as np
import pytest

from explorer.store import Store
from explorer.store.catalogue import SETS, _sum_random_sets, judge_catalogue


def test_sums_are_those_of_sets_without_repeats():
    """A column's score is a power of two: each sum tells which columns are in its set."""
    score = np.stack([2.0 ** np.arange(12), np.ones(12)])
    sums = _sum_random_sets(score, [np.arange(5), np.arange(5, 12)], np.array([2, 3]))
    assert sums.shape == (2, SETS) and (sums[1] == 5).all()
    drawn = [[bool(int(total) >> i & 1) for i in range(12)] for total in sums[0]]
    assert all(sum(one[:5]) == 2 and sum(one[5:]) == 3 for one in drawn)
    often = np.mean(drawn, axis=0)
    assert often[:5] == pytest.approx(2 / 5, abs=0.08) and often[5:] == pytest.approx(3 / 7, abs=0.08)
    assert np.array_equal(sums, _sum_random_sets(score, [np.arange(5), np.arange(5, 12)], np.array([2, 3])))


def naive_p(total: float, sums: np.ndarray) -> float:
    return (1 + sum(one >= total for one in sums)) / (1 + len(sums))


def test_p_and_q_against_counting():
    rng = np.random.default_rng(3)
    own, decoys = rng.normal(size=(8, 9)), rng.normal(size=(8, 60))
    own[0] += 4
    own[1] += 1
    found = judge_catalogue(own, ["a"] * 9, decoys, ["a"] * 60)
    sums = _sum_random_sets(np.concatenate([own, decoys], axis=1), [np.arange(69)], np.array([9]))
    p = [naive_p(value, row) for value, row in zip(own.sum(1), sums, strict=True)]
    assert found.effect.p_value == pytest.approx(p) and found.effect.p_value[0] == 1 / (1 + SETS)
    ordered = sorted(p)
    q = [min(min(1.0, ordered[k] * len(p) / (k + 1)) for k in range(len(p)) if ordered[k] >= one) for one in p]
    assert found.effect.q_value == pytest.approx(q)
    assert found.effect.above_noise.tolist() == [value <= 0.1 for value in q]
    assert found.effect.usual == pytest.approx(np.median(sums, axis=1))
    assert found.effect.total == pytest.approx(own.sum(1))


@pytest.mark.parametrize(
    ("collections", "by_collection", "can_tell"),
    [
        (["a"] * 5, True, True),  # half of its 10 decoys
        (["a"] * 6, False, True),
        (["a", "a", "b"], True, True),
        (["a", "none"], False, True),  # no decoy of that collection
        (["b"] * 15, True, True),  # half of all
        (["b"] * 16, False, False),
        ([], True, False),
    ],
)
def test_sets_are_like_the_catalogue_where_decoys_suffice(collections, by_collection, can_tell):
    held = np.array(["b"] * 30 if len(collections) >= 15 else ["a"] * 10 + ["b"] * 20)
    found = judge_catalogue(np.zeros((2, len(collections))), collections, np.zeros((2, 30)), held.tolist())
    assert (found.effect is not None) == can_tell
    if collections and can_tell:
        assert found.by_collection == by_collection
    assert (found.tracks, found.decoys) == (len(collections), 30)


def test_composition_matters_where_collections_differ():
    """Decoys of collection b score high; a catalogue of b alone is nothing special among sets of b."""
    rng = np.random.default_rng(0)
    held = np.array(["a"] * 40 + ["b"] * 40)
    decoys = rng.normal(np.where(held == "b", 3.0, 0.0), 1.0, (20, 80))
    own = rng.normal(3.0, 1.0, (20, 10))
    alike = judge_catalogue(own, ["b"] * 10, decoys, held.tolist())
    assert alike.by_collection and alike.effect.above_noise.sum() == 0
    mixed = judge_catalogue(own, ["b"] * 10, decoys, ["a"] * 80)
    assert not mixed.by_collection and mixed.effect.above_noise.sum() > 15


@pytest.mark.parametrize("tracks", [10, 40])
def test_catalogues_that_did_not_matter_are_hardly_ever_found(tracks):
    """Even one half as large as the decoys. Sets of decoys alone would find something for 16 % and 58 % of these."""
    rng = np.random.default_rng(5)
    p_value, found, repeats = [], 0, 200
    for _ in range(repeats):
        scores = rng.normal(size=(10, tracks + 80))
        judged = judge_catalogue(scores[:, :tracks], ["a"] * tracks, scores[:, tracks:], ["a"] * 80)
        found += bool(judged.effect.above_noise.any())
        p_value += judged.effect.p_value.tolist()
    assert 0.05 * repeats <= found <= 0.16 * repeats  # 10 % by design
    assert np.mean(np.array(p_value) <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_many_tracks_and_clips_take_seconds_at_most():
    rng = np.random.default_rng(1)
    decoys = rng.normal(size=(64, 10_000))
    started = time.perf_counter()
    judge_catalogue(np.zeros((64, 4000)), ["a"] * 4000, decoys, ["a"] * 10_000)
    assert time.perf_counter() - started < 20


def test_the_store_gives_scores_of_run_1_and_complete_decoys(made, tmp_path):
    path = made.make_store(tmp_path / "s")
    with duckdb.connect(str(path)) as con:
        con.execute("UPDATE tracks SET planted = 'rare' WHERE track_id = 41")
        con.execute("DELETE FROM scores WHERE track_id = 50 AND clip_id = 2")
        con.execute("INSERT INTO runs SELECT * REPLACE (2 AS run_id, 'tuned' AS model_note) FROM runs")
        con.execute("UPDATE clips SET run_id = 2 WHERE clip_id = 3")
    store = Store(path)
    found = store.holders.read_catalogue(1, "composer", "Amy Beach")
    members = store.holders.list_members("composer", "Amy Beach")
    assert found.clip_id.tolist() == [1, 2] and len(found.collections) == len(members)
    for clip, own in zip(found.clip_id.tolist(), found.score, strict=True):
        scores = store.scores.read_frame(1, clip).set_index("track_id")["score"].astype(float)
        assert own == pytest.approx(scores[members].to_numpy())
        expected = scores[[i for i in range(42, 81) if i != 50]].to_numpy()
        assert found.decoy_score[found.clip_id.tolist().index(clip)] == pytest.approx(expected)
    assert found.decoy_collections == [store.tracks.read(i).collection for i in range(42, 81) if i != 50]
    large = store.holders.read_catalogue(1, "rights holder", "public")
    assert len(large.collections) == 40 and large.score.shape == (2, 0)  # not read: decoys are too few

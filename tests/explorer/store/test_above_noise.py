"""The test of above noise against naive twins; that it is fair where its assumption holds, and finds a lone track."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.store import above_noise
from explorer.store.above_noise import OTHER, SAME_CAPTION, SAME_STYLE, find_standing, judge_pairs


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 40])
def test_each_value_is_centred_on_the_others(count):
    rng = np.random.default_rng(count)
    for values in (rng.normal(size=count), np.round(rng.normal(size=count), 1), np.zeros(count)):
        medians, spreads = above_noise._leave_each_out(values)
        for i in range(count):
            others = np.delete(values, i)
            assert medians[i] == np.median(others)
            assert spreads[i] == above_noise.MAD_TO_DEVIATION * np.median(np.abs(others - np.median(others)))


def test_many_decoys_of_one_bin_need_no_square_of_them():
    medians, spreads = above_noise._leave_each_out(np.random.default_rng(0).normal(size=50_000))
    assert len(medians) == len(spreads) == 50_000  # a square would take 20 GB


def draw(seed: int, clips: int = 30, tracks: int = 20, decoys: int = 40):
    """Scores, bins, roles and works: each clip has its own level in each bin; nothing matters."""
    rng = np.random.default_rng(seed)
    is_decoy = np.arange(tracks + decoys) >= tracks
    match_bin = rng.integers(0, 3, (clips, len(is_decoy)))
    score = rng.normal(size=match_bin.shape) + rng.normal(0, 2, (clips, 3))[np.arange(clips)[:, None], match_bin]
    return score, match_bin, is_decoy, np.arange(len(is_decoy)) // 2


def naive_z(score, match_bin, is_decoy):
    """Less the median of the bin's other decoys, over their spread; with few, over the usual one of the bin."""
    centred, spread, few = np.full(score.shape, np.nan), np.full(score.shape, np.nan), []
    for q in range(len(score)):
        for number in (SAME_STYLE, SAME_CAPTION):
            decoys = [i for i in range(score.shape[1]) if is_decoy[i] and match_bin[q, i] == number]
            if len(decoys) <= above_noise.LEAST_OTHERS:
                continue
            for i in np.flatnonzero(match_bin[q] == number):
                left_out = i if is_decoy[i] else decoys[i % len(decoys)]
                others = np.array([score[q, k] for k in decoys if k != left_out])
                centred[q, i] = score[q, i] - np.median(others)
                spread[q, i] = above_noise.MAD_TO_DEVIATION * np.median(np.abs(others - np.median(others)))
                if len(decoys) <= above_noise.OWN_SPREAD:
                    few.append((q, i, number))
    of_clip = [np.median(np.abs(row[is_decoy & np.isfinite(row)])) for row in centred]
    for q, i, number in few:
        ratios = [
            abs(centred[c, k]) / of_clip[c]
            for c, k in np.ndindex(score.shape)
            if match_bin[c, k] == number and is_decoy[k] and np.isfinite(centred[c, k])
        ]
        spread[q, i] = above_noise.MAD_TO_DEVIATION * np.median(ratios) * of_clip[q]
    return centred, centred / spread


@pytest.mark.parametrize("seed", range(3))
def test_claims_against_counting(seed):
    score, match_bin, is_decoy, work = draw(seed, clips=8)
    error = np.full((3, len(is_decoy)), 0.3)
    gives_nulls = np.arange(8) != 1
    loudness = np.exp(np.random.default_rng(seed).normal(size=(8, 1)))  # of the clips: it changes nothing
    found = judge_pairs(score * loudness, error * loudness[:3], match_bin, is_decoy, work, 3, gives_nulls)
    centred, z = naive_z(score, match_bin, is_decoy)
    for q in range(3):
        p = {}
        for i in range(len(is_decoy)):
            number = match_bin[q, i]
            if number == OTHER or np.isnan(z[q, i]):
                assert np.isnan(found.p_value[q, i])
                continue
            nulls = [
                z[c, k]
                for c in range(8)
                for k in range(len(is_decoy))
                if gives_nulls[c]
                and is_decoy[k]
                and match_bin[c, k] == number
                and np.isfinite(z[c, k])
                and (c, k) != (q, i)
            ]
            p[i] = (1 + sum(one >= z[q, i] for one in nulls)) / (1 + len(nulls))
            if centred[q, i] <= 2 * error[q, i]:
                p[i] = 1.0
            assert found.p_value[q, i] == pytest.approx(p[i])
        family = [i for i in p if not is_decoy[i]]
        sizes = {number: sum(match_bin[q, i] == number for i in family) for number in (1, 2)}
        bins = sum(size > 0 for size in sizes.values())
        weighted = {i: p[i] * bins * sizes[match_bin[q, i]] / len(family) for i in family}
        for i in family:
            steps = [
                w * len(family) / sum(v <= w for v in weighted.values()) for w in weighted.values() if w >= weighted[i]
            ]
            assert found.q_value[q, i] == pytest.approx(min(1.0, *steps))
        assert np.isnan(found.q_value[q, is_decoy]).all() and not found.above_noise[q, is_decoy].any()


def test_where_nothing_matters_hardly_any_clip_has_a_finding():
    found = clips = 0
    for seed in range(40):
        score, match_bin, is_decoy, work = draw(seed)
        claims = judge_pairs(score, np.zeros(score.shape), match_bin, is_decoy, work, len(score), np.ones(30, bool))
        found, clips = found + claims.above_noise.any(1).sum(), clips + len(score)
    assert found / clips <= 0.13  # 10 % by design


def test_a_lone_track_is_found_where_the_bins_say_so_and_only_there():
    for clips, expected in ((2, False), (30, True)):
        score, match_bin, is_decoy, work = draw(7, clips=clips)
        match_bin[0, 0], score[0, 0] = SAME_CAPTION, 60.0
        no_error = np.zeros((1, score.shape[1]))
        claims = judge_pairs(score, no_error, match_bin, is_decoy, work, 1, np.ones(clips, bool))
        bins = {one.match_bin: one for one in claims.bins}
        assert bins[SAME_CAPTION].can_tell == expected == bool(claims.above_noise[0, 0])
        assert bins[SAME_CAPTION].candidates == (match_bin[0, :20] == SAME_CAPTION).sum()
        assert bins[SAME_CAPTION].null_works <= bins[SAME_CAPTION].null_rows


def test_the_claim_about_tracks_counts_decoys():
    rng = np.random.default_rng(2)
    score, nulls = np.round(rng.normal(0.5, 1, 30), 1), np.round(rng.normal(size=25), 1)
    p_value, q_value = find_standing(score, nulls)
    p = [(1 + sum(one >= value for one in nulls)) / 26 for value in score]
    assert p_value == pytest.approx(p)
    assert q_value == pytest.approx([min(1.0, *(v * 30 / sum(u <= v for u in p) for v in p if v >= own)) for own in p])
    assert all(np.isnan(values).all() for values in find_standing(score, np.zeros(0)))

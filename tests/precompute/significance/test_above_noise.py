"""The test of above noise against loops, and in made-up worlds where it is known what there is to find."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.store.above_noise import (
    FALSE_RATE,
    SAME_CAPTION,
    SAME_STYLE,
    adjust_p_values,
    centre_on_decoys,
    compute_p_values,
    find_standing,
    judge_pairs,
)


def make_world(rng: np.random.Generator, clips: int = 30, tracks: int = 60, decoys: int = 160):
    """Match bins [Q, N] and the decoys' mask: 2 + 8 candidates a clip, beside 16 + 24 decoys."""
    count = tracks + decoys
    is_decoy = np.arange(count) >= tracks
    bins = np.zeros((clips, count), np.uint8)
    for row in bins:
        own, other = rng.permutation(tracks)[:10], tracks + rng.permutation(decoys)[:40]
        row[own], row[other] = SAME_STYLE, SAME_STYLE
        row[own[:2]], row[other[:16]] = SAME_CAPTION, SAME_CAPTION
    return bins, is_decoy


def test_centre_and_spread_against_loops() -> None:
    rng = np.random.default_rng(1)
    bins, is_decoy = make_world(rng, clips=3)
    score = rng.standard_normal(bins.shape)
    centred, spread = centre_on_decoys(score, bins, is_decoy)
    for q in range(3):
        for number in (SAME_STYLE, SAME_CAPTION):
            decoys = np.flatnonzero((bins[q] == number) & is_decoy)
            for i in np.flatnonzero(bins[q] == number):
                left_out = list(decoys).index(i) if is_decoy[i] else i % len(decoys)
                others = np.delete(score[q, decoys], left_out)
                assert centred[q, i] == pytest.approx(score[q, i] - np.median(others))
                assert spread[q, i] == pytest.approx(1.4826 * np.median(np.abs(others - np.median(others))))
    assert np.isnan(centred[bins == 0]).all()


def test_few_decoys_share_a_spread_and_too_few_say_nothing() -> None:
    rng = np.random.default_rng(2)
    bins = np.zeros((3, 30), np.uint8)
    is_decoy = np.arange(30) >= 5
    for q, count in enumerate((20, 8, 4)):  # decoys
        bins[q, :2], bins[q, 5 : 5 + count] = SAME_STYLE, SAME_STYLE
    centred, spread = centre_on_decoys(rng.standard_normal((3, 30)), bins, is_decoy)
    of_clip = [np.median(np.abs(centred[q][(bins[q] == SAME_STYLE) & is_decoy])) for q in (0, 1)]
    ratios = [np.abs(centred[q][(bins[q] == SAME_STYLE) & is_decoy]) / of_clip[q] for q in (0, 1)]
    assert np.allclose(spread[1][bins[1] == SAME_STYLE], 1.4826 * np.median(np.concatenate(ratios)) * of_clip[1])
    assert len(np.unique(spread[0][bins[0] == SAME_STYLE])) > 1
    assert np.isnan(centred[2]).all()
    claims = judge_pairs(np.zeros((3, 30)), np.zeros((3, 30)), bins, is_decoy, np.arange(30), 3, np.ones(3, bool))
    assert np.isnan(claims.p_value[2]).all() and not claims.above_noise[2].any()
    assert [record.can_tell for record in claims.bins if record.clip == 2] == [False]


def test_p_values_count_decoys_as_high() -> None:
    nulls = np.array([1.0, 2.0, 2.0, 5.0])
    assert compute_p_values(np.array([6.0, 2.0, 0.0]), nulls, np.zeros(3, bool)).tolist() == [0.2, 0.8, 1.0]
    assert compute_p_values(nulls, nulls, np.ones(4, bool)).tolist() == [1.0, 0.75, 0.75, 0.25]
    assert compute_p_values(np.ones(2), np.zeros(0), np.zeros(2, bool)).tolist() == [1.0, 1.0]


def test_weighted_step_up_against_the_textbook() -> None:
    """Of all thresholds, the largest k with k sorted p / w at most k / m x rate (Genovese, Roeder & Wasserman 2006)."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        bins = rng.integers(1, 3, 12)
        p = rng.random(12) ** 4
        sizes = {number: (bins == number).sum() for number in set(bins)}
        weight = np.array([12 / (len(sizes) * sizes[number]) for number in bins])
        assert weight.mean() == pytest.approx(1)
        ordered = np.sort(p / weight)
        passing = [k for k in range(1, 13) if ordered[k - 1] <= k / 12 * FALSE_RATE]
        wanted = p / weight <= (ordered[max(passing) - 1] if passing else -1)
        assert ((adjust_p_values(p, bins) <= FALSE_RATE) == wanted).all()
    one_bin = adjust_p_values(np.array([0.01, 0.5]), np.array([2, 2]))
    assert one_bin.tolist() == [0.02, 0.5] and adjust_p_values(np.zeros(0), np.zeros(0)).tolist() == []


def test_where_nothing_matters_a_tenth_of_the_clips_has_a_finding() -> None:
    """With heavy tails, and a caption that lifts tracks and decoys alike."""
    rng, shares = np.random.default_rng(4), []
    for _ in range(40):
        bins, is_decoy = make_world(rng)
        score = rng.standard_t(4, bins.shape) + 1.5 * (bins == SAME_CAPTION)
        claims = judge_pairs(score, np.zeros(bins.shape), bins, is_decoy, np.arange(220), 30, np.ones(30, bool))
        assert all(record.can_tell for record in claims.bins)
        shares.append(claims.above_noise.any(1).mean())
    assert 0.04 < np.mean(shares) < 0.14  # 1,200 clips: 0.10 +- 0.02


def test_a_lone_track_is_found_and_says_on_what_it_rests() -> None:
    rng = np.random.default_rng(5)
    bins, is_decoy = make_world(rng)
    score, work = rng.standard_normal(bins.shape), np.arange(220) // 2
    lone = [np.flatnonzero((row == SAME_CAPTION) & ~is_decoy)[0] for row in bins]
    score[np.arange(30), lone] += 8
    claims = judge_pairs(score, np.full(bins.shape, 0.5), bins, is_decoy, work, 30, np.ones(30, bool))
    assert claims.above_noise[np.arange(30), lone].all()
    assert not claims.above_noise[:, is_decoy].any() and np.isnan(claims.q_value[:, is_decoy]).all()
    record = next(r for r in claims.bins if r.clip == 0 and r.match_bin == SAME_CAPTION)
    assert (record.candidates, record.decoys, record.null_rows) == (2, 16, 30 * 16)
    null = (bins == SAME_CAPTION) & is_decoy
    assert record.null_works == len(np.unique(work[np.nonzero(null)[1]]))
    # the same scores with errors as large as they are: nothing
    claims = judge_pairs(score, np.full(bins.shape, 9.0), bins, is_decoy, work, 30, np.ones(30, bool))
    assert not claims.above_noise.any() and (claims.p_value[np.isfinite(claims.p_value)] == 1).all()


def test_it_cannot_tell_where_the_least_p_value_is_too_large() -> None:
    bins, is_decoy = np.full((1, 30), SAME_STYLE, np.uint8), np.arange(30) >= 3
    score = np.random.default_rng(6).standard_normal((1, 30))
    score[0, 0] = 100
    claims = judge_pairs(score, np.zeros((1, 30)), bins, is_decoy, np.arange(30), 1, np.ones(1, bool))
    assert [(r.candidates, r.null_rows, r.can_tell) for r in claims.bins] == [(3, 27, False)]
    assert not claims.above_noise.any()  # 3 candidates x 1 / 28 > 0.10
    more = judge_pairs(score[:, 1:], np.zeros((1, 29)), bins[:, 1:], is_decoy[1:], np.arange(29), 1, np.ones(1, bool))
    assert [r.can_tell for r in more.bins] == [True]  # 2 x 1 / 28


def test_clips_that_give_no_nulls_are_judged_all_the_same() -> None:
    rng = np.random.default_rng(7)
    bins, is_decoy = make_world(rng, clips=4)
    score = rng.standard_normal(bins.shape)
    gives = np.array([True, True, False, True])
    claims = judge_pairs(score, np.zeros((3, 220)), bins, is_decoy, np.arange(220), 3, gives)
    assert claims.p_value.shape == (3, 220) and np.isfinite(claims.p_value[2]).any()
    assert {record.null_rows for record in claims.bins if record.match_bin == SAME_CAPTION} == {3 * 16}


def test_standing_of_tracks() -> None:
    p, q = find_standing(np.array([9.0, 0.0]), np.arange(1.0, 20.0))
    assert p.tolist() == [0.6, 1.0] and q.tolist() == [1.0, 1.0]
    p, q = find_standing(np.array([90.0, 0.0]), np.arange(1.0, 20.0))
    assert p[0] == pytest.approx(0.05) and q[0] == pytest.approx(0.1)
    assert np.isnan(find_standing(np.array([9.0]), np.zeros(0))).all()

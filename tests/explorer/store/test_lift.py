"""Lift over chance: its interval against printed tables, against chance itself, and what sorting by it does."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.store.lift import (
    Groups,
    classify_lift,
    compute_gamma_quantile,
    compute_poisson_interval,
    estimate_dispersion,
    form_groups,
)


@pytest.mark.parametrize(
    ("count", "low", "high"),  # Garwood (1936); the tables of Pearson & Hartley give them to these digits
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (3, 0.6187, 8.767), (10, 4.795, 18.39), (50, 37.11, 65.92)],
)
def test_the_interval_is_the_exact_one(count, low, high):
    assert compute_poisson_interval(count) == pytest.approx((low, high), rel=8e-4)


def test_large_counts_meet_small_ones_without_a_step():
    below, above = compute_gamma_quantile(399.99, 0.025), compute_gamma_quantile(400.01, 0.025)
    assert 0 < above - below < 0.05


def groups_of(sizes, hits, work=None, above=None, best=None) -> Groups:
    """Groups of neighbouring tracks, of these sizes; the rest of `hits` in a group of its own."""
    hits = np.asarray(hits)
    rest = len(hits) - sum(sizes)
    sizes = [*sizes, rest] if rest else list(sizes)
    names = np.array([f"g{i}" for i in range(len(sizes))], dtype=object)
    work = np.arange(len(hits)) if work is None else np.asarray(work)
    zero = np.zeros(len(hits), int)
    return form_groups(
        names,
        np.repeat(np.arange(len(sizes)), sizes),
        np.arange(len(hits)),
        work,
        hits,
        zero if above is None else np.asarray(above),
        zero if best is None else np.asarray(best),
    )


def row(groups: Groups, name: str) -> int:
    return list(groups.name).index(name)


def test_lift_is_hits_over_what_so_many_tracks_would_get():
    groups = groups_of([4], [3, 2, 1, 0, *([1] * 4), *([0] * 12)], best=[5, 2, 9, *([0] * 17)])
    i = row(groups, "g0")
    assert (groups.tracks[i], groups.hits[i], groups.best[i]) == (4, 6, 2)
    assert groups.expected[i] == pytest.approx(4 * 10 / 20)
    assert groups.lift[i] == pytest.approx(3.0)
    assert groups.low[i] < groups.lift[i] < groups.high[i]
    assert groups.sure_low[i] <= groups.low[i] and groups.sure_high[i] >= groups.high[i]
    assert groups.best[row(groups, "g1")] == 0


def test_all_tracks_together_have_a_lift_of_one():
    groups = groups_of([20], np.r_[5, 3, np.zeros(18, int)])
    assert groups.lift[0] == pytest.approx(1.0) and classify_lift(groups, 0) == "chance"


def test_a_tiny_catalogue_that_was_lucky_does_not_win():
    # 300 groups of one track, one of which has two places; a catalogue of 60 tracks that holds five times its due.
    hits = np.zeros(1000, int)
    hits[7] = 2
    hits[300:360] = 1
    hits[360:] = [1] * 118 + [0] * 522
    groups = groups_of([1] * 300 + [60], hits)
    assert groups.lift[row(groups, "g7")] > groups.lift[row(groups, "g300")] > 4  # by lift alone it would win
    assert groups.name[0] == "g300" and classify_lift(groups, 0) == "more"
    assert classify_lift(groups, row(groups, "g7")) in ("chance", "maybe more")


def test_a_large_catalogue_does_not_win_by_its_size():
    hits = np.r_[[3] * 20, [1] * 400, [0] * 580]
    groups = groups_of([20, 980], hits)
    assert groups.hits[row(groups, "g1")] > groups.hits[row(groups, "g0")]
    assert groups.name[0] == "g0"


def test_where_nothing_comes_up_nothing_is_claimed():
    groups = groups_of([4], np.zeros(20, int))
    assert groups.lift.tolist() == [1.0, 1.0] and not np.isfinite(groups.high).any()
    assert [classify_lift(groups, i) for i in range(2)] == ["chance", "chance"]


def test_clumps_of_one_work_widen_the_interval():
    hits = np.r_[[2] * 10, [0] * 190]
    apart, together = groups_of([10], hits), groups_of([10], hits, work=np.r_[[0] * 10, np.arange(1, 191)])
    assert apart.dispersion < together.dispersion
    assert together.low[row(together, "g0")] < apart.low[row(apart, "g0")]
    assert together.works[row(together, "g0")] == 1
    assert estimate_dispersion(np.ones(50, int), np.arange(50)) == 1.0  # never below: evenness is no certainty


def test_by_chance_alone_hardly_any_store_has_a_group_above_it():
    # Places drawn at random among 400 tracks, 12 groups: in one store of twenty at most something may stand out.
    rng = np.random.default_rng(5)
    found = alone = 0
    for _ in range(150):
        hits = np.bincount(rng.integers(0, 400, 180), minlength=400)
        groups = groups_of([4, 8, 12, 16, 20, 25, 30, 35, 40, 60, 70], hits)
        found += bool((groups.sure_low > 1).any())
        alone += int((groups.low > 1).sum())
    assert found <= 0.05 * 150
    assert alone <= 0.03 * 150 * 12


def test_a_track_may_be_of_several_groups():
    names = np.array(["a", "b"], dtype=object)
    one = np.ones(3, int)
    groups = form_groups(names, np.array([0, 0, 1]), np.array([0, 1, 1]), np.arange(3), one, one, one)
    assert dict(zip(groups.name, groups.hits, strict=True)) == {"a": 2, "b": 1}

"""Statistics of score matrices, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.evaluate.ranking import (
    average_wins,
    bootstrap_interval,
    bootstrap_two_way_interval,
    compute_chance_of_hits,
    compute_chance_of_most,
    count_hits_in_top,
    count_wins,
)
from precompute.significance.diagnostics import compute_auc


def test_wins_count_ties_by_half() -> None:
    assert count_wins(np.array([2.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0])).tolist() == [1.0, 0.5, 0.0]


def test_the_bootstrap_interval_holds_the_mean_and_shrinks() -> None:
    assert bootstrap_interval(np.full(5, 0.25)) == (0.25, 0.25)
    values = np.random.default_rng(0).random(400)
    low, high = bootstrap_interval(values)
    half_width = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half_width, abs=0.004)
    assert high == pytest.approx(values.mean() + half_width, abs=0.004)


def test_hits_in_the_top() -> None:
    scores = np.array([[9.0, 8.0, 7.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    wanted = np.array([True, False, True, True])
    assert count_hits_in_top(scores, wanted, 2).tolist() == [1, 2]


def test_chances_are_those_of_counting() -> None:
    assert compute_chance_of_hits(4, 2, 2, 1) == pytest.approx(1 - 1 / 6)  # of 6 pairs one misses both
    assert compute_chance_of_hits(4, 2, 2, 2) == pytest.approx(1 / 6)
    assert compute_chance_of_hits(3, 2, 10, 2) == 1.0  # everything is in the top
    assert compute_chance_of_most(0.5, 4, 3) == pytest.approx(5 / 16)


def test_the_interval_of_a_table_counts_rows_and_columns() -> None:
    assert bootstrap_two_way_interval(np.full((3, 4), 0.25)) == pytest.approx((0.25, 0.25))
    scores = np.random.default_rng(0).normal(size=(1, 400))
    is_train = np.arange(400) < 200
    won = average_wins(scores, is_train, ~is_train)
    assert won.mean() == pytest.approx(compute_auc(scores, is_train, ~is_train))
    low, high = bootstrap_two_way_interval(won)
    theory = np.sqrt(401 / (12 * 200 * 200))  # standard error of the AUC under no difference (Mann and Whitney 1947)
    assert (high - low) / (2 * 1.96) == pytest.approx(theory, rel=0.1)

"""Ranks and correlations of rankings."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.significance.ranks import correlate_clips, correlate_with_property, rank_scores


def test_ranks_give_ties_in_order() -> None:
    assert rank_scores(np.array([[1.0, 3.0, 3.0, 2.0, 3.0]])).tolist() == [[5, 1, 2, 4, 3]]


def test_correlation_between_clips() -> None:
    up = np.array([1.0, 2, 3, 4])
    assert correlate_clips(np.stack([up, 10 * up])) == pytest.approx(1)
    assert correlate_clips(np.stack([up, -up])) == pytest.approx(-1)
    assert correlate_clips(np.stack([up, up, -up])) == pytest.approx(-1 / 3)
    assert correlate_clips(up[None]) == 0.0


def test_correlation_with_a_property() -> None:
    scores = np.array([[1.0, 2, 3], [3, 2, 1]])
    assert correlate_with_property(scores[:1], np.array([5.0, 6, 90])) == pytest.approx(1)
    assert correlate_with_property(scores, np.array([5.0, 6, 90])) == pytest.approx(0)

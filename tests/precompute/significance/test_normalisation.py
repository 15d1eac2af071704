"""Normalisation against loops: no mean is subtracted, and a cohort clip is left out of its own spread."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.significance.normalisation import Normalisation


def test_against_loops() -> None:
    rng = np.random.default_rng(8)
    scores, cohort = rng.standard_normal((2, 9)), 3 + rng.standard_normal((5, 9))
    found = Normalisation.fit(cohort)
    for i in range(9):
        assert found.apply(scores)[:, i] == pytest.approx(scores[:, i] / np.std(cohort[:, i], ddof=1))
        for k in range(5):
            others = np.delete(cohort[:, i], k)
            assert found.cohort[k, i] == pytest.approx(cohort[k, i] / np.std(others, ddof=1))


def test_a_tracks_scale_goes_and_its_mean_stays() -> None:
    rng = np.random.default_rng(7)
    scores, cohort = rng.standard_normal((4, 32)), rng.standard_normal((50, 32))
    scale, offset = np.exp(rng.standard_normal(32)), rng.standard_normal(32)
    plain = Normalisation.fit(cohort).apply(scores)
    assert np.allclose(Normalisation.fit(cohort * scale).apply(scores * scale), plain)
    moved = Normalisation.fit(cohort + offset).apply(scores + offset)
    assert np.allclose(moved - plain, offset / cohort.std(0, ddof=1))


def test_a_track_whose_score_never_varies_is_left_as_it_is() -> None:
    cohort = np.random.default_rng(6).standard_normal((6, 3))
    cohort[:, 1] = 2.0
    found = Normalisation.fit(cohort)
    assert found.spread[1] == 1.0 and (found.cohort[:, 1] == 2.0).all() and np.isfinite(found.cohort).all()


def test_tiny_scores_keep_their_spread() -> None:
    """Raw scores of unlearning are of the order of 1e-14: what is no spread is relative to the largest."""
    cohort = 1e-15 * np.random.default_rng(5).standard_normal((20, 4))
    assert np.allclose(Normalisation.fit(cohort).apply(cohort).std(0, ddof=1), 1.0)

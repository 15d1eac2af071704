"""q-values against their definition and simulations; *above noise*."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.significance.diagnostics import estimate_error_rate
from precompute.significance.q_values import Q_LIMIT, compute_q_values, is_above_noise
from support.corpora import mask_halves


def naive_q_values(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray) -> np.ndarray:
    """The definition, word for word: O(n^2) and worse."""
    n_train, n_decoy = is_train.sum(), is_decoy.sum()
    regular = scores[is_train | is_decoy]

    def rate(threshold: float) -> float:
        above = max(1, (scores[is_train] >= threshold).sum())
        return min(1.0, (1 + (scores[is_decoy] >= threshold).sum()) * (n_train / n_decoy) / above)

    return np.array([min([rate(t) for t in regular if t <= s], default=1.0) for s in scores])


@pytest.mark.parametrize("ties", [False, True])
def test_q_values_against_the_definition(ties: bool) -> None:
    rng = np.random.default_rng(1)
    is_train, is_decoy = mask_halves(40, 25, planted=5)
    for _ in range(20):
        scores = rng.standard_normal(70) + 1.0 * is_train
        scores = np.round(scores * 2) / 2 if ties else scores
        found = compute_q_values(scores, is_train, is_decoy)
        assert np.allclose(found, naive_q_values(scores, is_train, is_decoy), rtol=0, atol=1e-12)


def test_q_values_never_rise_with_the_score() -> None:
    rng = np.random.default_rng(2)
    is_train, is_decoy = mask_halves(50, 50)
    q = compute_q_values(scores := rng.standard_normal(100) + is_train, is_train, is_decoy)
    assert (np.diff(q[np.argsort(scores)]) <= 0).all() and q.min() > 0 and q.max() <= 1


def test_without_decoys_nothing_can_be_told_from_noise() -> None:
    scores = np.arange(5.0)
    assert (compute_q_values(scores, np.ones(5, bool), np.zeros(5, bool)) == 1).all()


def test_pure_noise_keeps_the_nominal_error_rate() -> None:
    rng = np.random.default_rng(3)
    is_train, is_decoy = mask_halves(60, 120)
    scores = rng.standard_normal((2000, 180))
    assert estimate_error_rate(scores, is_decoy) <= 1.5 * Q_LIMIT
    errors = [compute_q_values(row, is_train, is_decoy)[is_train].min() <= Q_LIMIT for row in scores]
    assert np.mean(errors) <= 1.5 * Q_LIMIT


def test_planted_signals_are_found() -> None:
    rng = np.random.default_rng(4)
    is_train, is_decoy = mask_halves(100, 100)
    found, false = [], []
    for _ in range(50):
        scores = rng.standard_normal(200)
        scores[:20] += 5.0
        called = (compute_q_values(scores, is_train, is_decoy) <= Q_LIMIT) & is_train
        found.append(called[:20].mean())
        false.append(called[20:].sum() / max(1, called.sum()))
    assert np.mean(found) >= 0.9 and np.mean(false) <= 1.5 * Q_LIMIT


def test_above_noise_needs_both() -> None:
    q = np.array([0.10, 0.11, 0.05, 0.05])
    found = is_above_noise(np.array([3.0, 3.0, 2.0, -9.0]), np.array([1.0, 1, 1, 1]), q)
    assert found.tolist() == [True, False, False, False]


def test_the_explorer_counts_false_discoveries_in_the_same_way():
    from explorer.store.ranking import Q_LIMIT as SHOWN_LIMIT
    from explorer.store.ranking import compute_q_values as shown_q_values

    rng = np.random.default_rng(11)
    for _ in range(20):
        scores = np.round(rng.normal(0, 1, 90) + 0.5, 1)
        is_decoy = rng.random(90) < rng.uniform(0, 1)
        regular = rng.random(90) < 0.8
        expected = compute_q_values(scores, ~is_decoy & regular, is_decoy & regular)
        assert shown_q_values(scores, is_decoy, regular) == pytest.approx(expected)
    assert SHOWN_LIMIT == Q_LIMIT

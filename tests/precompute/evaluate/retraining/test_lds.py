"""LDS against a loop with scipy's Spearman, and on answers whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from precompute.evaluate.retraining import lds


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def cut(rng: np.random.Generator, trainings: int, tracks: int) -> list[list[int]]:
    return [sorted(rng.permutation(tracks)[: tracks // 2].tolist()) for _ in range(trainings)]


def test_a_prediction_is_the_sum_over_the_tracks_trained_on(rng: np.random.Generator) -> None:
    scores, copies, rows = rng.standard_normal((3, 10)), np.array([1.0] * 9 + [8.0]), cut(rng, 5, 10)
    wanted = [[sum(scores[q, i] * copies[i] for i in own) for q in range(3)] for own in rows]
    assert lds.predict_answers(scores, rows, copies) == pytest.approx(np.array(wanted))


def test_lds_is_spearmans_correlation_of_each_clip(rng: np.random.Generator) -> None:
    answers, predictions = rng.standard_normal((12, 4)), np.round(rng.standard_normal((12, 4)), 0)  # with ties
    wanted = [spearmanr(answers[:, q], predictions[:, q]).statistic for q in range(4)]
    assert lds.compute_lds(answers, predictions) == pytest.approx(np.array(wanted))
    assert lds.compute_lds(answers, np.zeros((12, 4))) == pytest.approx(np.zeros(4))


def test_scores_that_rule_the_answers_are_found_and_others_not(rng: np.random.Generator) -> None:
    scores, rows, copies = rng.standard_normal((20, 100)), cut(rng, 64, 100), np.ones(100)
    truth = lds.predict_answers(scores, rows, copies)
    noisy = truth + truth.std(0) * rng.standard_normal(truth.shape)
    assert lds.compute_lds(truth, truth) == pytest.approx(np.ones(20))
    other = lds.predict_answers(rng.standard_normal((20, 100)), rows, copies)
    means = lds.bootstrap_lds(noisy, [truth, other])
    low, high = lds.find_interval(means[:, 0])
    assert 0.55 < low < float(lds.compute_lds(noisy, truth).mean()) < high < 0.8
    low, high = lds.find_interval(means[:, 1])
    assert low < 0 < high and high - low < 0.25
    low, high = lds.find_interval(means[:, 0] - means[:, 1])
    assert low > 0.4


def test_the_interval_covers_the_truth_as_often_as_it_says(rng: np.random.Generator) -> None:
    """Trainings and clips both vary: an interval that drew one of them alone would be too narrow."""
    covered = 0
    for _ in range(60):
        common = rng.standard_normal((24, 1))  # what all clips of a training share
        answers = common + rng.standard_normal((24, 8))
        predictions = common + rng.standard_normal((24, 8))
        low, high = lds.find_interval(lds.bootstrap_lds(answers, [predictions], seed=int(rng.integers(1 << 30))))
        covered += low <= 0.482 <= high  # Spearman of two normals with correlation 0.5
    assert covered >= 52  # of 60


def test_the_ceiling_is_the_agreement_of_two_seeds(rng: np.random.Generator) -> None:
    truth = rng.standard_normal((16, 30))
    one, two = (truth + rng.standard_normal(truth.shape) for _ in range(2))
    value, low, high = lds.measure_ceiling(one, two)
    assert value == pytest.approx(float(lds.compute_lds(one, two).mean()))
    assert low < value < high and 0.3 < value < 0.65

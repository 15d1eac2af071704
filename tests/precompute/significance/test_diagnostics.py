"""Diagnostics of a run's own scores, by hand and against pair counts."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.significance.diagnostics import compute_auc, diagnose, measure_decoy_share, measure_top_share
from precompute.significance.normalisation import Normalisation
from precompute.significance.verdicts import ClipGroups, assign_roles, calibrate_scores
from support.corpora import make_tracks, mask_halves


def test_area_under_curve_against_pair_counts() -> None:
    rng = np.random.default_rng(10)
    is_train, is_decoy = mask_halves(12, 9, planted=3)
    scores = rng.standard_normal((3, 24)) + 0.5 * is_train
    wanted = [np.mean([a > b for a in row[is_train] for b in row[is_decoy]]) for row in scores]
    assert compute_auc(scores, is_train, is_decoy) == pytest.approx(np.mean(wanted))


def test_decoys_in_top_counts_regular_items_alone() -> None:
    is_train, is_decoy = mask_halves(3, 3, planted=2)
    scores = np.array([[5.0, 1, 0, 4, 3, 2, 99, 98]])  # planted ones on top do not count
    assert measure_decoy_share(scores, is_train, is_decoy, 2) == 0.5
    assert measure_decoy_share(scores, is_train, is_decoy, 4) == 0.75


def test_share_of_top_is_of_the_positive_score() -> None:
    assert measure_top_share(np.array([[6.0, -5, 2, 2], [1, 0, 0, 0]]), 1) == pytest.approx((0.6 + 1) / 2)
    assert measure_top_share(np.array([[-1.0, -2]]), 1) == 0.0


def test_diagnostics_are_finite_and_tell_self_ranks() -> None:
    tracks = make_tracks()
    rng = np.random.default_rng(13)
    cells, cohort = rng.standard_normal((5, 18, 4, 2, 2)), rng.standard_normal((9, 18))
    cells[3, 2] += 50  # clips 3 and 4 unlearn tracks 2 and 5
    cells[4, 5] += 50
    groups = ClipGroups(np.ones((14, 18), np.uint8), 3)
    verdicts = calibrate_scores(cells, Normalisation.fit(cohort), assign_roles(tracks), groups)
    found = {one.name: one.value for one in diagnose(verdicts, np.array([2, 5]), tracks, 3)}
    assert np.isfinite(list(found.values())).all()
    assert found["self_rank_raw"] == found["self_rank_norm"] == 1.0 and found["decoys_chance"] == 0.5

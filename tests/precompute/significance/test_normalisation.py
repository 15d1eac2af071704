"""Normalisation against loops and made-up worlds in which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.evaluate.calibration import tabulate_calibration
from precompute.significance.normalisation import Normalisation
from precompute.significance.q_values import compute_q_values
from precompute.significance.standard_errors import estimate_standard_error
from support.corpora import mask_halves


@pytest.mark.parametrize("modes", [0, 2])
def test_offset_and_scale_of_every_track_are_removed(modes: int) -> None:
    rng = np.random.default_rng(7)
    is_train, is_decoy = mask_halves(20, 10, planted=2)
    scores, cohort = rng.standard_normal((4, 32)), rng.standard_normal((50, 32))
    offset, scale = 10 * rng.standard_normal(32), np.exp(rng.standard_normal(32))
    plain = Normalisation.fit(cohort, is_train, is_decoy, modes).apply(scores)
    moved = Normalisation.fit(cohort * scale + offset, is_train, is_decoy, modes).apply(scores * scale + offset)
    assert np.allclose(plain, moved, rtol=0, atol=1e-9)
    assert np.allclose(plain[:, is_train].mean(1), 0, atol=1e-12) and np.allclose(plain[:, is_train].std(1, ddof=1), 1)


def test_without_modes_against_loops() -> None:
    rng = np.random.default_rng(8)
    is_train, is_decoy = mask_halves(6, 3)
    scores, cohort = rng.standard_normal((2, 9)), rng.standard_normal((5, 9))
    found = Normalisation.fit(cohort, is_train, is_decoy).apply(scores)  # five clips are too few for a mode
    for q in range(2):
        z = [(scores[q, i] - np.mean(cohort[:, i])) / np.std(cohort[:, i], ddof=1) for i in range(9)]
        for i in range(9):
            assert found[q, i] == pytest.approx((z[i] - np.mean(z[:6])) / np.std(z[:6], ddof=1))


def test_modes_against_least_squares() -> None:
    """The rest is the part that no mixture of the cohort's strongest patterns over tracks explains."""
    rng = np.random.default_rng(4)
    is_train, is_decoy = mask_halves(30, 20)
    cohort, scores = rng.standard_normal((12, 50)), rng.standard_normal((3, 50))
    found = Normalisation.fit(cohort, is_train, is_decoy, 2).apply(scores)
    z = (cohort - cohort.mean(0)) / cohort.std(0, ddof=1)
    _, vectors = np.linalg.eigh(z.T @ z)
    patterns = vectors[:, -2:]

    def left(values: np.ndarray) -> np.ndarray:
        return values - patterns @ np.linalg.lstsq(patterns, values, rcond=None)[0]

    residual = np.std([left(row) for row in z], axis=0, ddof=1)
    for q in range(3):
        wanted = left((scores[q] - cohort.mean(0)) / cohort.std(0, ddof=1)) / residual
        wanted = (wanted - wanted[:30].mean()) / wanted[:30].std(ddof=1)
        assert np.allclose(found[q], wanted, atol=1e-9)


def test_order_of_clips_and_tracks_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    is_train, is_decoy = mask_halves(30, 20, planted=3)
    cohort, scores = rng.standard_normal((24, 53)), rng.standard_normal((3, 53))
    plain = Normalisation.fit(cohort, is_train, is_decoy).apply(scores)
    clips, tracks = rng.permutation(24), rng.permutation(53)
    moved = Normalisation.fit(cohort[clips][:, tracks], is_train[tracks], is_decoy[tracks]).apply(scores[:, tracks])
    assert np.allclose(moved, plain[:, tracks], rtol=1e-9, atol=1e-9)


def test_a_track_that_never_varies_is_left_alone() -> None:
    cohort = np.random.default_rng(9).standard_normal((5, 4))
    cohort[:, 2] = 1.0
    everything, nothing = np.ones(4, bool), np.zeros(4, bool)
    for modes in (0, 2):
        assert np.isfinite(Normalisation.fit(cohort, everything, nothing, modes).apply(np.ones((1, 4)))).all()
    flat = Normalisation.fit(np.ones((5, 4)), everything, nothing, 2)
    assert np.isfinite(flat.apply(np.arange(4.0)[None])).all() and flat.basis.shape == (4, 0)


def test_errors_follow_their_scores() -> None:
    """Moving a track outside the modes by k raw standard errors moves its normalised score by k normalised errors."""
    rng = np.random.default_rng(3)
    is_train, is_decoy = mask_halves(100, 99, planted=1)
    cells, cohort = rng.normal(size=(4, 2, 1, 200)), rng.normal(size=(50, 200)) * 3
    normalisation = Normalisation.fit(cohort, is_train, is_decoy)
    scores = cells.mean((0, 1))
    moved = scores.copy()
    apart = cells.copy()
    apart[..., :-1] = apart[:1, :1, :, :-1]  # only the last track has any noise
    moved[0, -1] += 2 * estimate_standard_error(apart)[0, -1]
    rise = normalisation.apply(moved) - normalisation.apply(scores)
    still = Normalisation.fit(cohort, is_train, is_decoy)
    assert rise[0, -1] == pytest.approx(
        2 * still.estimate_error(apart)[0, -1] * _width_ratio(still, apart, scores), rel=1e-9
    )
    assert np.abs(rise[0, :-1]).max() < 1e-12


def _width_ratio(normalisation: Normalisation, one: np.ndarray, scores: np.ndarray) -> float:
    """Clips are scaled by their own width: of the cells that `estimate_error` saw, over that of the scores."""
    widths = [
        normalisation._measure_width(normalisation._remove_modes(s - normalisation.mean))
        for s in (one.mean((0, 1)), scores)
    ]
    return float(widths[0][0, 0] / widths[1][0, 0])


def test_errors_are_as_large_as_the_scatter() -> None:
    """Scores drawn again and again scatter by what `estimate_error` says (at most √2 too large for plain noise)."""
    rng = np.random.default_rng(1)
    is_train, is_decoy = mask_halves(60, 60)
    cohort = rng.normal(size=(48, 120)) + 3 * rng.normal(size=(48, 1)) * rng.uniform(0.5, 1.5, 120)
    truth = 5 * rng.normal(size=(1, 120))
    normalisation = Normalisation.fit(cohort, is_train, is_decoy)
    draws = [truth + rng.normal(size=(4, 2, 1, 120)) for _ in range(300)]
    scatter = np.std([normalisation.apply(cells.mean((0, 1))) for cells in draws], axis=0, ddof=1).mean()
    claimed = np.mean([normalisation.estimate_error(cells) for cells in draws])
    assert 0.95 < claimed / scatter < 1.05 * np.sqrt(2)


def world(seed: int, common: float, found: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shown and cohort scores of 80 tracks and 80 decoys: decoys share `common` of every clip; the first 16 tracks

    of every third shown clip rise by `found` deviations.
    """
    rng = np.random.default_rng(seed)
    is_train, is_decoy = mask_halves(80, 80)
    loadings = np.where(is_decoy, 1.0, 0.2) * rng.uniform(0.8, 1.2, 160)
    scores = rng.standard_normal((66, 160)) + common * rng.standard_normal((66, 1)) * loadings
    scores[:18:3, :16] += found
    return scores[:18], scores[18:], is_train, is_decoy


def test_a_common_answer_of_decoys_is_no_evidence_once_its_mode_is_removed() -> None:
    plain, one, *_ = tabulate_calibration(*world(0, common=3.0), modes=(0, 1))
    assert plain["auc_sd"] > 0.15 and plain["clips_tracks"] > 0.3
    assert one["auc_sd"] < 0.09 and one["clips_tracks"] <= 0.1 and one["clips_decoys"] <= 0.1
    assert one["mirrored_clips_tracks"] <= 0.1 and one["mirrored_clips_decoys"] <= 0.1


def test_what_is_there_is_still_found() -> None:
    shown, cohort, is_train, is_decoy = world(1, common=3.0, found=6.0)
    z = Normalisation.fit(cohort, is_train, is_decoy).apply(shown)
    passed = np.array([compute_q_values(row, is_train, is_decoy) <= 0.1 for row in z])
    assert passed[::3, :16].mean() > 0.95 and passed[:, 16:].mean() < 0.03

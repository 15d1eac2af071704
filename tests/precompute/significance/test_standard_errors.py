"""Standard errors against simulations."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.significance.standard_errors import NORMAL_QUANTILE, estimate_standard_error, moderate_variances


@pytest.mark.parametrize(("track_sd", "clip_sd"), [(1.0, 1.0), (2.0, 0.5), (0.3, 3.0)])
def test_standard_error_against_simulation(track_sd: float, clip_sd: float) -> None:
    """Crossed draws: cells = score + a_replicate + b_half; the truth is the spread of the mean itself."""
    rng = np.random.default_rng(5)
    replicates, half_count, trials = 8, 2, 20_000
    cells = (
        track_sd * rng.standard_normal((replicates, 1, trials))
        + clip_sd * rng.standard_normal((1, half_count, trials))
        + 0.1 * rng.standard_normal((replicates, half_count, trials))
    )
    truth = cells.mean((0, 1)).std()
    claimed = np.sqrt((estimate_standard_error(cells) ** 2).mean())
    assert claimed == pytest.approx(truth, rel=0.15)


def test_standard_error_is_never_too_small_for_plain_noise() -> None:
    """Noise of single cells alone counts in both terms: at most sqrt(2) too large, never too small."""
    cells = np.random.default_rng(6).standard_normal((8, 2, 20_000))
    ratio = np.sqrt((estimate_standard_error(cells) ** 2).mean()) / cells.mean((0, 1)).std()
    assert 1.0 < ratio < 1.05 * np.sqrt(2)


def test_standard_error_of_equal_cells_is_zero() -> None:
    assert (estimate_standard_error(np.ones((4, 2, 3))) == 0).all()


def make_tracks(rng: np.random.Generator, halves_only: bool) -> tuple[np.ndarray, np.ndarray]:
    """Cells [4, 2, 30 clips, 400 tracks] whose spread differs from track to track, and the true scores."""
    spread = np.exp(0.7 * rng.standard_normal(400))
    truth = rng.standard_normal((30, 400))
    cells = np.broadcast_to(truth, (4, 2, 30, 400)) + spread * rng.standard_normal((1, 2, 30, 400))
    return cells + (0 if halves_only else spread * rng.standard_normal((4, 1, 30, 400))), truth


@pytest.mark.parametrize("halves_only", [False, True])
def test_two_errors_cover_the_truth_though_halves_are_but_two(halves_only: bool) -> None:
    cells, truth = make_tracks(np.random.default_rng(8), halves_only)
    error = estimate_standard_error(cells)
    outside = float((np.abs(cells.mean((0, 1)) - truth) > NORMAL_QUANTILE * error).mean())
    assert 0.03 < outside < 0.08
    plain = np.sqrt(cells.mean(1).var(0, ddof=1) / 4 + cells.mean(0).var(0, ddof=1) / 2)
    assert float((np.abs(cells.mean((0, 1)) - truth) > NORMAL_QUANTILE * plain).mean()) > 0.1
    assert float(np.median(error / plain)) < 2  # 6.5 is what one degree of freedom alone would ask for


def test_a_prior_is_found_again() -> None:
    rng = np.random.default_rng(9)
    for prior, usual in ((4.0, 0.5), (20.0, 3.0)):
        true = usual * prior / rng.chisquare(prior, 20_000)
        variance, freedom = moderate_variances(true * rng.chisquare(3, 20_000) / 3, 3)
        assert float(np.median(freedom)) - 3 == pytest.approx(prior, rel=0.15)
        assert float(np.square(np.log(variance / true)).mean()) < 0.9 * float(np.log(true).var() + 1)
    few, freedom = moderate_variances(np.array([1.0, 2.0, 0.0]), 1)  # too few tracks: as they are
    assert few.tolist() == [1.0, 2.0, 0.0] and freedom[:2].tolist() == [1, 1]


def test_order_and_scale_change_nothing() -> None:
    cells, _ = make_tracks(np.random.default_rng(10), halves_only=False)
    error = estimate_standard_error(cells)
    assert estimate_standard_error(1e-8 * cells) == pytest.approx(1e-8 * error, rel=1e-6)
    turned = estimate_standard_error(cells[:, :, :, ::-1])
    assert turned[:, ::-1] == pytest.approx(error, rel=1e-9)

"""Standard errors against simulations."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.significance.standard_errors import estimate_standard_error


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

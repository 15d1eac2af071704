"""Agreement of two methods, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.significance.agreement import measure_agreement


def test_agreement_by_hand() -> None:
    one, other = np.array([[4.0, 3, 2, 1], [1, 2, 3, 4]]), np.array([[1.0, 2, 3, 4], [1, 2, 4, 3]])
    found = measure_agreement(one, other)
    assert found["pearson"] == pytest.approx((-1 + 0.8) / 2) and found["spearman"] == pytest.approx((-1 + 0.8) / 2)
    assert found["top10"] == found["top100"] == 1.0  # four tracks
    assert (
        measure_agreement(one, one)["pearson"] == pytest.approx(1)
        and measure_agreement(one, np.ones((2, 4)))["pearson"] == 0
    )
    wide = np.arange(40.0)[None]
    assert measure_agreement(wide, -wide)["top10"] == 0 and measure_agreement(wide, np.roll(wide, 5, 1))["top10"] == 0.5

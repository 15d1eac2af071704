"""Long files become windows of the model's length."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.corpus.windows import format_clock, place_windows


@pytest.mark.parametrize(
    ("seconds", "most", "wanted"),
    [
        (1.0, 4, [(0, 1)]),
        (10.0, 4, [(0, 10)]),
        (10.4, 4, [(0, 10)]),  # up to 5 % more is not worth a second window
        (15.0, 4, [(0, 10), (5, 15)]),
        (40.0, 3, [(0, 10), (15, 25), (30, 40)]),
        (7200.0, 2, [(0, 10), (7190, 7200)]),
        (40.0, 1, [(0, 10)]),
    ],
)
def test_windows_are_spread_evenly(seconds: float, most: int, wanted: list[tuple[float, float]]) -> None:
    assert np.allclose(place_windows(seconds, 10.0, most), wanted)


def test_clock_times() -> None:
    assert [format_clock(s) for s in (0, 1.5, 65.2, 3661)] == ["0:00", "0:01.5", "1:05", "1:01:01"]

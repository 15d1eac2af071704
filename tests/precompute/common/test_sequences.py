"""A few of many, evenly."""

from __future__ import annotations

import pytest

from precompute.common.sequences import spread_evenly


@pytest.mark.parametrize(
    ("total", "count", "chosen"),
    [(10, 3, [0, 3, 6]), (4, 4, [0, 1, 2, 3]), (3, 9, [0, 1, 2]), (3, 0, [0, 1, 2]), (0, 5, [])],
)
def test_rows_are_spread_from_the_first_on(total: int, count: int, chosen: list[int]) -> None:
    assert spread_evenly(total, count) == chosen

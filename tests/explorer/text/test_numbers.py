"""Numbers as a person reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from explorer.text.numbers import choose_decimals, choose_exponent, format_percent, format_plus_minus, format_power


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *((0.0, "0 %"), (0.0004, "less than 0.1 %"), (0.032, "3.2 %"), (0.41, "41 %"), (0.0996, "10 %")),
        *((0.994, "more than 99 %"), (0.99, "99 %"), (1.0, "100 %")),
    ],
)
def test_percent(share, text):
    assert format_percent(share) == text


def test_power_text():
    assert format_power(-7) == " \N{MULTIPLICATION SIGN} 10⁻⁷"
    assert format_power(choose_exponent(np.array([3.0, -20.0]))) == ""
    assert choose_exponent(np.array([0.0])) == 0 == choose_exponent(np.array([]))
    assert choose_exponent(np.array([-4.2e-7, 1e-9])) == -7


def test_digits_follow_the_error():
    assert choose_decimals(pd.Series([0.12, 0.5, 0.011])) == 2
    assert choose_decimals(pd.Series([3.0])) == 1 and choose_decimals(pd.Series([4000.0])) == 0
    assert choose_decimals(pd.Series([1e-9])) == 4 and choose_decimals(pd.Series([0.0])) == 2
    assert choose_decimals(pd.Series([], dtype=float)) == 2
    assert format_plus_minus(-4.306, 0.12, 2) == "−4.31 ± 0.12"
    assert format_plus_minus(12.0, 3.0, 0) == "12 ± 3"

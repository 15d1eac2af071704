"""Numbers as a person reads them: shares, q-values, scores with their errors, lift, durations. Pure functions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from explorer.store.above_noise import FALSE_RATE

_ROUNDING = 1e-6  # of a rate that is stored as a 32-bit float


def format_percent(share: float) -> str:
    """A share in words a reader can trust: '41 %', '3.2 %', 'less than 0.1 %', 'more than 99 %'."""
    value = 100.0 * share
    if 0 < value < 0.1:
        return "less than 0.1 %"
    if 99 < value < 100:
        return "more than 99 %"
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def format_error_rate(value: float | None) -> str:
    """A p- or q-value: '0.04'; a third digit where two would hide the size, or on which side of the limit it lies.

    '–' where there is none: None or NaN.
    """
    if value is None or math.isnan(value):
        return "–"
    if value < 0.0005:
        return "< 0.001"
    close = value < 0.01 or (round(value, 2) == FALSE_RATE and abs(value - FALSE_RATE) > _ROUNDING)
    return f"{value:.{3 if close else 2}f}"


def format_places(best: int, worst: int) -> str:
    """'1–3', or '1' where both ends agree: an interval of places."""
    return f"{best:,}" if best == worst else f"{best:,}–{worst:,}"


def choose_exponent(values: np.ndarray) -> int:
    """The exponent to take out of an axis or a column, 0 where plain numbers read well."""
    largest = float(np.abs(values).max()) if len(values) else 0.0
    if largest == 0 or 0.1 <= largest < 10_000:
        return 0
    return math.floor(math.log10(largest))


def format_power(exponent: int) -> str:
    """' \N{MULTIPLICATION SIGN} 10⁻⁷' for -7, '' for 0."""
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f" \N{MULTIPLICATION SIGN} 10{digits}" if exponent else ""


def choose_decimals(errors: pd.Series) -> int:
    """Decimals for a column of scores: down to the second digit of a typical error; more would be noise."""
    typical = float(errors.median()) if len(errors) else 0.0
    return 2 if typical <= 0 else max(0, min(4, 1 - math.floor(math.log10(typical))))


def format_plus_minus(value: float, error: float, digits: int) -> str:
    """'4.31 ± 0.12'."""
    return f"{format_signed(value, digits)} ± {error:.{digits}f}"


def format_signed(value: float, digits: int) -> str:
    """'−1.20': a typographic minus, and none before a zero."""
    rounded = round(value, digits) + 0.0  # no minus before a zero
    return f"{rounded:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def format_count(number: int, noun: str) -> str:
    """'1 track', '12 tracks'."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def format_lift(low: float, lift: float, high: float) -> str:
    """'1.5 (1.0–2.1)'."""
    return f"{_format_fine(lift)} ({_format_fine(low)}–{_format_fine(high)})" if high < 1e9 else "not known"


def _format_fine(value: float) -> str:
    """Two decimals, so that the side of 1 on which an end lies can be seen."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2f}"


def format_rate(value: float) -> str:
    """'12', '1.4', '0.05': a number of times, with as many decimals as can matter."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.95 else f"{value:.2f}"


def format_duration(seconds: float) -> str:
    """'0.4 s', '42 s', '3 min 20 s', '2 h 5 min'."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"

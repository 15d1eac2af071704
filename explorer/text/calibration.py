"""The measured rate of false findings of the test of above noise, where the store keeps it. Pure functions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from explorer.text.numbers import format_percent

NAME = "calibration"  # of the kept evaluation
SPLIT = "works"  # decoys of some works play tracks


class Calibration(NamedTuple):
    """Share of clips with any finding where decoys play the tracks, so that every finding is false; 0..1."""

    share: float
    low: float  # ends of its 95 % interval
    high: float
    could_fire: float | None = None  # share of these clips for which a lone track could have been found


def find_calibration(results: Mapping[str, str], method: str) -> Calibration | None:
    """What the kept evaluation measured of a method; None where it did not, or makes no sense."""
    try:
        rows = json.loads(results.get(NAME, "{}")).get("rows", [])
    except (ValueError, AttributeError):
        return None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("method") == method and row.get("split") == SPLIT:
            numbers = [_read_share(row.get(name)) for name in ("clips_with_finding", "low", "high")]
            share, low, high = numbers
            if share is not None and low is not None and high is not None and low <= high:
                return Calibration(share, low, high, _read_share(row.get("could_fire")))
    return None


def _read_share(value: Any) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
    return float(value) if known else None


def word_calibration(measured: Calibration | None) -> str:
    """The measured rate, to be put after a comma or as a sentence of its own; '' where there is none."""
    if measured is None:
        return ""
    fires = measured.could_fire
    able = "" if fires is None else f"; a lone track could have been found for {format_percent(fires)} of them"
    return (
        "measured with decoys in the place of tracks, where every finding is false: "
        f"{format_percent(measured.share)} of clips have one (95 % interval {format_percent(measured.low)} to "
        f"{format_percent(measured.high)}{able})"
    )

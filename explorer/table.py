"""Scores of one clip -> the table of top tracks: numbers sort, texts are shown. Pure functions; no gradio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from explorer.charts import ordered, power_of_ten, power_text
from explorer.store import Track

ROWS = 100
ABOVE_TEXT, NOISE_TEXT, DECOY_TEXT = "above noise", "not distinguishable from noise", "decoy, never heard"
ID_COLUMN = "id"
_MUTED = "color: var(--body-text-color-subdued)"


def top(scores: pd.DataFrame, order: str, decoys: bool) -> pd.DataFrame:
    """The first ROWS rows of this order; `place` counts among the rows shown (training tracks, or all)."""
    rows = ordered(scores, order)
    if not decoys:
        rows = rows[~rows["is_decoy"]]
    return rows.assign(place=range(1, len(rows) + 1)).head(ROWS)


def decimals(errors: pd.Series) -> int:
    """Decimals for a column of scores: down to the second digit of a typical error; more would be noise."""
    typical = float(errors.median()) if len(errors) else 0.0
    return 2 if typical <= 0 else max(0, min(4, 1 - math.floor(math.log10(typical))))


def plus_minus(value: float, error: float, digits: int) -> str:
    """'4.31 ± 0.12'."""
    return f"{value:.{digits}f} ± {error:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def badge(is_decoy: bool, above_noise: bool) -> str:
    if is_decoy:
        return DECOY_TEXT
    return ABOVE_TEXT if above_noise else NOISE_TEXT


def table(rows: pd.DataFrame, tracks: Mapping[int, Track]) -> dict[str, Any]:
    """The rows of `top` as gr.Dataframe takes them: `data` sorts, `display_value` is read, `styling` mutes.

    The last column holds the track id: that is what a click hands back.
    """
    exponent = power_of_ten(rows["score"])
    unit = 10.0**exponent
    digits = decimals(rows["std_error"] / unit)
    norm_digits = decimals(rows["std_error_norm"])
    headers = [
        *("#", "title", "composer", "licence", "normalised ± error", f"raw score ± error{power_text(exponent)}"),
        *("above noise?", "q", "collection", ID_COLUMN),
    ]
    data: list[list[Any]] = []
    shown: list[list[str]] = []
    styling: list[list[str]] = []
    for row in rows.itertuples():
        track = tracks[int(row.track_id)]
        score, error = float(row.score) / unit, float(row.std_error) / unit
        texts = (track.title, track.composer, track.licence)
        kind = badge(row.is_decoy, row.above_noise)
        normalised = plus_minus(float(row.score_norm), float(row.std_error_norm), norm_digits)
        last = (track.collection, track.track_id)
        data.append([int(row.place), *texts, float(row.score_norm), score, kind, float(row.q_value), *last])
        numbers = (normalised, plus_minus(score, error, digits), kind, f"{row.q_value:.2f}")
        shown.append([str(row.place), *texts, *numbers, *map(str, last)])
        muted = row.is_decoy or not row.above_noise
        styling.append([_MUTED if muted else ""] * len(headers))
    return {"headers": headers, "data": data, "metadata": {"display_value": shown, "styling": styling}}

"""Scores of one clip -> what the curve draws and what the page says of them. Pure functions; no gradio.

Input: the DataFrame of `Store.scores`. Orders: NORMALISED by `rank` (what a listener sees first), RAW by
`raw_rank`.
Higher = stronger influence; place 1 = strongest; both orders place training tracks and decoys together.
Share: a track's part of the positive score of the clip's training tracks, in the score that is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

NORMALISED, RAW = "normalised", "raw"
EVERY_PLACE_TO = 100  # all of the first places are drawn, then about LOG_PLACES more
LOG_PLACES = 400
_COLUMN = {NORMALISED: "score_norm", RAW: "score"}
_PLACE = {NORMALISED: "rank", RAW: "raw_rank"}
NOISE, ABOVE, DECOY = 0, 1, 2  # the kinds of a point; curve.js has the same three
_TITLE_CHARS = 70  # keeps the payload of a curve near 30 kB


def ordered(scores: pd.DataFrame, order: str) -> pd.DataFrame:
    """Adds `place` and `value` (the score of this order) and sorts by place."""
    return scores.assign(place=scores[_PLACE[order]], value=scores[_COLUMN[order]]).sort_values("place")


def cumulative_share(scores: pd.DataFrame, order: str) -> np.ndarray:
    """For each row of `ordered`: share of the positive score that training tracks hold so far; else NaN.

    Decoys hold nothing: they are not part of the clip's training tracks.
    """
    rows = ordered(scores, order)
    positive = np.where(rows["is_decoy"], 0.0, rows["value"].clip(lower=0.0)).astype(float)
    total = positive.sum()
    return np.cumsum(positive) / total if total > 0 else np.full(len(rows), np.nan)


def sampled_places(count: int) -> np.ndarray:
    """Places (from 1) to draw among `count`: the first EVERY_PLACE_TO, then log-spaced, always the last."""
    if count <= EVERY_PLACE_TO:
        return np.arange(1, count + 1)
    tail = np.geomspace(EVERY_PLACE_TO, count, LOG_PLACES).round().astype(int)
    return np.unique(np.concatenate([np.arange(1, EVERY_PLACE_TO + 1), tail]))


def power_of_ten(values: pd.Series) -> int:
    """The exponent to take out of an axis or a column, 0 where plain numbers read well."""
    largest = float(values.abs().max()) if len(values) else 0.0
    if largest == 0 or 0.1 <= largest < 10_000:
        return 0
    return math.floor(math.log10(largest))


def power_text(exponent: int) -> str:
    """' \N{MULTIPLICATION SIGN} 10⁻⁷' for -7, '' for 0."""
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f" \N{MULTIPLICATION SIGN} 10{digits}" if exponent else ""


def curve(
    scores: pd.DataFrame, order: str, titles: Mapping[int, str] | None = None, selected: int | None = None
) -> dict[str, Any]:
    """What curve.js draws: parallel lists over the sampled places, values divided by 10 ** exponent."""
    rows = ordered(scores, order).assign(share=cumulative_share(scores, order))
    shown = rows[rows["place"].isin(sampled_places(len(rows))) | (rows["track_id"] == selected)]
    exponent = power_of_ten(rows["value"])
    kinds = np.where(shown["is_decoy"], DECOY, np.where(shown["above_noise"], ABOVE, NOISE))
    names = titles or {}
    return {
        "order": order,
        "power": power_text(exponent),
        "unit": f"{order} influence score" + (f" ({power_text(exponent).strip()})" if exponent else ""),
        "count": len(rows),
        "selected": selected,
        "place": [int(place) for place in shown["place"]],
        "value": [float(f"{value / 10.0**exponent:.5g}") for value in shown["value"]],
        "track": [int(track) for track in shown["track_id"]],
        "kind": [int(kind) for kind in kinds],
        "share": [None if math.isnan(share) else round(float(share), 4) for share in shown["share"]],
        "title": [names.get(int(track), "")[:_TITLE_CHARS] for track in shown["track_id"]],
    }


def percent(share: float) -> str:
    """A share in words a reader can trust: '41 %', '3.2 %', 'less than 0.1 %', 'more than 99 %'."""
    value = 100.0 * share
    if 0 < value < 0.1:
        return "less than 0.1 %"
    if 99 < value < 100:
        return "more than 99 %"
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def _tracks(count: int) -> str:
    return "1 training track" if count == 1 else f"{count:,} training tracks"


def verdict(scores: pd.DataFrame) -> str:
    """The first sentence under a clip: how many training tracks are above noise."""
    training = scores[~scores["is_decoy"]]
    above = int(training["above_noise"].sum())
    if not len(training):
        return "This method did not score this clip."
    if above == 0:
        return (
            "Nothing is above noise for this clip: no training track scores clearly higher than tracks that "
            "the model never heard. The order below is no evidence of influence."
        )
    rest = len(training) - above
    first = f"{above:,} of {_tracks(len(training))} {'is' if above == 1 else 'are'} above noise"
    return (
        f"{first}; the other {rest:,} {'is' if rest == 1 else 'are'} not distinguishable from it."
        if rest
        else first + "."
    )


def summary(scores: pd.DataFrame, order: str, first: int = 10) -> str:
    """Concentration of the positive score, then what the decoys say of raw scores and of normalised ones."""
    rows = ordered(scores, order)
    training = rows[~rows["is_decoy"]]
    if not len(training):
        return ""
    parts = []
    positive = training["value"].clip(lower=0.0)
    first = min(first, len(training))
    if positive.sum() > 0:
        who = "The first" if first == 1 else f"The first {first}"
        verb, noun = ("holds" if first == 1 else "hold"), ("track" if len(training) == 1 else "tracks")
        held = percent(float(positive.head(first).sum() / positive.sum()))
        parts.append(f"{who} of {len(training):,} {noun} {verb} {held} of the positive {order} score")
    else:
        parts.append(f"No training track has a positive {order} score")
    if rows["is_decoy"].any():
        best = min(10, len(rows))
        raw, norm = (int((scores["is_decoy"] & (scores[column] <= best)).sum()) for column in ("raw_rank", "rank"))
        was = "was" if raw == 1 else "were"
        by_chance = best * float(rows["is_decoy"].mean())
        parts.append(
            f"{raw} of the best {best} by raw score {was} never heard by the model, "
            f"{norm} by normalised score ({by_chance:.2g} by chance)"
        )
    return "; ".join(parts) + "."


def control(scores: pd.DataFrame, target: int, title: str) -> str:
    """What a control clip (a training track unlearned itself) shows: it should find itself first."""
    text = f"Control: this is the training track “{title}”, unlearned itself; it should find itself first. "
    row = scores[(scores["track_id"] == target) & scores["train_rank"].notna()]
    if row.empty:
        return text + "It was not scored."
    total = int(scores["train_rank"].notna().sum())
    raw = 1 + int((~scores["is_decoy"] & (scores["score"] > row["score"].iloc[0])).sum())
    place = int(row["train_rank"].iloc[0])
    return text + f"It is number {place:,} of {total:,} by normalised score, {raw:,} by raw score."

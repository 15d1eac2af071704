"""Sentences about two methods on one clip, and about the agreement of all methods. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from explorer.text.numbers import format_signed
from explorer.text.scores import word_reliability

MEASURE_NAMES = {
    "spearman": "rank correlation (Spearman)",
    "pearson": "correlation of scores (Pearson)",
    "top10": "share of the first 10 in common",
    "top100": "share of the first 100 in common",
}
ONE_METHOD = "Agreement needs two methods: this store holds one."
NO_COMMON_CLIPS = "No two methods scored the same clips, so nothing can be compared."
STORED_AGREEMENT = "As the run measured it."
MEASURED_AGREEMENT = "The run kept no agreement: worked out from the scores when this tab was opened."


class SharedFirst(NamedTuple):
    """Training tracks that stand among the first places of both rankings."""

    places: int
    both: int
    chance: float  # how many would by chance


@dataclass(frozen=True)
class SharedTracks:
    """Counts of tracks that two rankings of one clip have in common; pairs are (first method, second method)."""

    tracks: tuple[int, int]  # training tracks that each scored
    first: tuple[SharedFirst, ...]  # of the first 10 and 100, where both scored so many
    scored_by_both: int  # training tracks
    rank_correlation: float  # over these; NaN: not defined
    above_noise: tuple[int, int]
    above_noise_by_both: int


def word_shared_tracks(shared: SharedTracks, labels: tuple[str, str]) -> list[str]:
    """Tracks that two methods have in common for one clip, beside chance. `labels`: names of the methods."""
    if not all(shared.tracks):
        missing = labels[0] if not shared.tracks[0] else labels[1]
        return [f"{missing} did not score this clip: there is nothing to compare."]
    lines = [
        f"Of the first {places}, {both} {'is' if both == 1 else 'are'} the same ({chance:.2g} by chance)."
        for places, both, chance in shared.first
    ]
    rho = shared.rank_correlation
    if not math.isnan(rho):
        scale = "the same order" if rho > 0.999 else "1: the same order, 0: unrelated, \N{MINUS SIGN}1: reversed"
        lines.append(
            f"Rank correlation over {shared.scored_by_both:,} training tracks: {format_signed(rho, 2)} ({scale})."
        )
    if not any(shared.above_noise):
        return [*lines, "Neither method has a track above noise for this clip: what they share is no finding."]
    first, second = shared.above_noise
    lines.append(
        f"Above noise: {first:,} by {labels[0]}, {second:,} by {labels[1]}, {shared.above_noise_by_both:,} by both."
    )
    return lines


def word_lone_method(label: str) -> str:
    """Why a store with one method has nothing to compare."""
    return f"This store holds one method, {label}: there is no second one to compare it with."


def word_reliabilities(*methods: tuple[str, float | None]) -> list[str]:
    """How settled the order of each method is; `methods`: (label, reliability)."""
    return [f"{label}: {text[0].lower()}{text[1:]}" for label, value in methods if (text := word_reliability(value))]


def word_order(order: str) -> str:
    """By which score tracks are ordered. `order`: 'normalised' or 'raw'."""
    return f"Order: by {order} score, training tracks alone."


def word_sampled_agreement(tracks: int) -> str:
    """The source of agreement that was measured on some tracks only."""
    return f"The run kept no agreement: correlations are of {tracks:,} training tracks drawn by chance."


def word_heat_map(measure: str, source: str) -> str:
    """Explain the colours of the heat map. `measure`: one of MEASURE_NAMES; `source`: how it was measured."""
    return f"Colour: {MEASURE_NAMES[measure]}, mean over generated clips, training tracks alone. {source}"

"""Places of tracks among the training tracks of a clip, with their error. Pure functions; place 1 = strongest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PLACE_ERRORS = 2.0  # standard errors that a score is moved by, for the interval of its place


class PlaceIntervals(NamedTuple):
    """The places that tracks may hold; arrays [n], best <= worst."""

    best: np.ndarray  # int: with the score two standard errors higher
    worst: np.ndarray  # int: with the score two standard errors lower


def compute_place_intervals(
    score: np.ndarray, error: np.ndarray, training: np.ndarray, is_training: np.ndarray
) -> PlaceIntervals:
    """The places that tracks would take if their score were two standard errors higher, or lower, others fixed.

    `score`, `error`: [n], of the tracks asked for; `training`: [M], the scores of all training tracks of the clip,
    ascending; `is_training`: bool [n], whether the track is one of them. A decoy takes the place that a track of its
    score would. A track that scores the same counts for it in the best place and against it in the worst. The error
    covers draws of noise alone. O(n log M).
    """
    best = 1 + len(training) - np.searchsorted(training, score + PLACE_ERRORS * error, side="right")
    as_high = len(training) - np.searchsorted(training, score - PLACE_ERRORS * error, side="left")
    return PlaceIntervals(best, 1 + as_high - is_training)  # itself is among those that score as high

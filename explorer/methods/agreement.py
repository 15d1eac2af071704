"""Agreement of every pair of methods over all clips, for stores whose run did not store it. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas as pd

from explorer.methods.correlation import (
    align_scores,
    average,
    correlate,
    correlate_clip,
    list_first_tracks,
    measure_overlap,
    rank_scores,
)
from explorer.store.records import Agreement, MethodRecord, ScoreSample


def measure_agreement(
    methods: Sequence[MethodRecord],
    tops: Mapping[int, pd.DataFrame],
    samples: Mapping[int, ScoreSample],
    clips: set[int],
) -> list[Agreement]:
    """The means that a run would have stored, over `clips`, for both orders of every pair of methods.

    Correlations are of the sampled tracks' normalised scores.
    """
    agreements = []
    ranks = {method: rank_scores(sample) for method, sample in samples.items()}
    chosen = {(method, count): list_first_tracks(top, count) for method, top in tops.items() for count in (10, 100)}
    for a, b in combinations([method.method_id for method in methods], 2):
        rows = {int(clip): i for i, clip in enumerate(samples[b].clip_id)}
        both = [(i, rows[int(c)]) for i, c in enumerate(samples[a].clip_id) if int(c) in rows and int(c) in clips]
        values = [align_scores(samples[a], samples[a].value[i], samples[b], samples[b].value[j]) for i, j in both]
        rho = [correlate_clip(ranks[a], i, ranks[b], j) for i, j in both]
        shared = []
        for count in (10, 100):
            one, other = chosen[a, count], chosen[b, count]
            shared.append(average([measure_overlap(one[c], other[c]) for c in clips & set(one) & set(other)]))
        numbers = [average([correlate(*pair) for pair in values]), average(rho), *shared]
        if not any(math.isnan(number) for number in numbers):
            agreements += [Agreement(a, b, *numbers), Agreement(b, a, *numbers)]
    return agreements

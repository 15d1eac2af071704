"""Lift: whether a group of tracks comes up more often than its size alone would have it. Pure functions; no queries.

A *group* is all training tracks of one composer, holder, collection, label ... A track *comes up* for a clip where it
holds one of its first places (or is above noise); clips are the generated ones and users', never controls. Lift: how
many times as often a group's tracks come up as so many training tracks drawn at random would; 1 = chance.

Why lift, and why sorted by a lower end. A raw sum of scores or places grows with the size of a catalogue, and lift
alone is won by the smallest ones, for which one lucky place is many times what chance would give. So groups are sorted
by the lower end of an interval, as is done for reports of side effects (DuMouchel 1999), where the same trap lies; and
because some of many groups are lucky, by that of the interval that holds for all G groups at once (Bonferroni: tails of
2.5 % / G).

The interval: hits are counts of rare events, so an exact Poisson interval (Garwood 1936) of hits, over what is
expected. Hits clump, though: renderings of one work come up together, and some tracks come up for many clips.
Pearson's dispersion of hits over works (McCullagh & Nelder 1989, 4.5), at least 1, says by how much; hits and
expectation are both divided by it, so that the interval is as wide as if only so many independent hits had been seen.
Permuting works among groups has the same mean and variance. Ignored: that no group can hold more places than there
are, which matters to large groups alone and makes their interval too wide rather than too narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

PLACES = {"10": 10, "100": 100}  # first places of a clip that count
COUNTS = (*PLACES, "above")  # what coming up means: so many first places, or above noise
LEVEL = 0.95  # of intervals
NAME_CHARS = 200  # of a group's name: longer ones that begin alike are one group


@dataclass(frozen=True)
class Groups:
    """Arrays [G] over the groups of one grouping, by `sure_low`, highest first."""

    name: np.ndarray  # str
    tracks: np.ndarray  # int: training tracks
    works: np.ndarray  # int: distinct works among them
    hits: np.ndarray  # int: pairs of track and clip in which one comes up
    expected: np.ndarray  # float: hits of so many tracks drawn at random
    low: np.ndarray  # float: lift's interval, of this group alone
    high: np.ndarray
    sure_low: np.ndarray  # float: the interval that holds for all G groups at once
    sure_high: np.ndarray
    above: np.ndarray  # int: pairs that are above noise
    best: np.ndarray  # int: the best place of any of its tracks for any clip; 0 where none was scored
    dispersion: float  # by how much hits clump; 1 = not at all

    @property
    def lift(self) -> np.ndarray:
        """[G]; 1 where nothing comes up at all."""
        return np.divide(self.hits, self.expected, out=np.ones(len(self.hits)), where=self.expected > 0)


@lru_cache(4096)
def compute_poisson_interval(count: float, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval (Garwood 1936) of the mean of a Poisson count >= 0, which need not be whole.

    Its ends are quantiles of gamma distributions of shape `count` and `count + 1`; the lower one of 0 is 0.
    """
    tail = (1 - level) / 2
    return (compute_gamma_quantile(count, tail) if count > 0 else 0.0), compute_gamma_quantile(count + 1, 1 - tail)


def compute_gamma_quantile(shape: float, part: float) -> float:
    """Quantile `part` (0..1) of a gamma distribution of this shape and scale 1, by bisection."""
    low, high = 0.0, shape + 12 * math.sqrt(shape) + 40
    for _ in range(80):
        middle = (low + high) / 2
        if _gamma_mass(shape, middle) < part:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _gamma_mass(shape: float, x: float) -> float:
    """The regularised lower incomplete gamma function P(shape, x), by its power series (Abramowitz & Stegun 6.5.29).

    All terms are positive, so that it is good for any x; above 400 the cube root of Wilson and Hilferty is as good.
    """
    if x <= 0:
        return 0.0
    if shape > 400:
        z = ((x / shape) ** (1 / 3) - 1 + 1 / (9 * shape)) * 3 * math.sqrt(shape)
        return 0.5 * math.erfc(-z / math.sqrt(2))
    term = total = 1 / shape
    n = shape
    while term > total * 1e-15:
        n += 1
        term *= x / n
        total += term
    return min(1.0, total * math.exp(shape * math.log(x) - x - math.lgamma(shape)))


def estimate_dispersion(hits: np.ndarray, work: np.ndarray) -> float:
    """Pearson's dispersion of hits over works, at least 1. `hits` [N] of training tracks, `work` [N] codes from 0."""
    mean = hits.mean() if len(hits) else 0.0
    if mean <= 0:
        return 1.0
    size = np.bincount(work)
    by_work = np.bincount(work, hits)[size > 0]
    expected = mean * size[size > 0]
    if len(expected) < 2:
        return 1.0
    return max(1.0, float(((by_work - expected) ** 2 / expected).sum() / (len(expected) - 1)))


def form_groups(
    names: np.ndarray,
    group: np.ndarray,
    track: np.ndarray,
    work: np.ndarray,
    hits: np.ndarray,
    above: np.ndarray,
    best: np.ndarray,
) -> Groups:
    """Form the groups of a grouping. A track may be in several groups, and is counted once in each.

    `names` [G]; `group`, `track` [M]: one entry for each member, as an index into `names` and into the training tracks;
    `work`, `hits`, `above`, `best` [N] over the training tracks: code of the work; clips for which it comes up; clips
    for which it is above noise; best place, 0 = none.
    """
    count = len(names)
    tracks = np.bincount(group, minlength=count)
    pairs = np.unique(group.astype(np.int64) * (int(work.max(initial=0)) + 1) + work[track])
    works = np.bincount(pairs // (int(work.max(initial=0)) + 1), minlength=count)
    group_hits = np.bincount(group, hits[track], minlength=count).astype(int)
    expected = tracks * (hits.mean() if len(hits) else 0.0)
    clumps = estimate_dispersion(hits, work)
    low, high = _lift_interval(group_hits, expected, clumps, LEVEL)
    sure_low, sure_high = _lift_interval(group_hits, expected, clumps, 1 - (1 - LEVEL) / max(1, count))
    places = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(places, group, np.where(best[track] > 0, best[track], np.iinfo(np.int64).max))
    order = np.lexsort((names.astype(str), -group_hits, -sure_low))
    return Groups(
        name=names[order],
        tracks=tracks[order],
        works=works[order],
        hits=group_hits[order],
        expected=expected[order],
        low=low[order],
        high=high[order],
        sure_low=sure_low[order],
        sure_high=sure_high[order],
        above=np.bincount(group, above[track], minlength=count).astype(int)[order],
        best=np.where(places < np.iinfo(np.int64).max, places, 0)[order],
        dispersion=clumps,
    )


def _lift_interval(
    hits: np.ndarray, expected: np.ndarray, clumps: float, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the lift's interval, [G] each; 0 and infinity where nothing was expected."""
    ends = np.array([compute_poisson_interval(float(value), level) for value in hits / clumps]).reshape(len(hits), 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.where(expected[:, None] > 0, ends * clumps / expected[:, None], [0.0, np.inf]).T
    return low, high


def classify_lift(groups: Groups, row: int) -> str:
    """Read the intervals of a group's lift: 'more', 'maybe more', 'chance', 'maybe less' or 'less'.

    'maybe': by itself it stands apart from chance, but among so many groups one may do so by luck.
    """
    if groups.low[row] > 1:
        return "more" if groups.sure_low[row] > 1 else "maybe more"
    if groups.high[row] < 1:
        return "less" if groups.sure_high[row] < 1 else "maybe less"
    return "chance"

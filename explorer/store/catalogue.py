"""Would a clip's loss rise if a whole catalogue were unlearned, more than for as many decoys? Pure functions.

To first order one unlearning of a group of tracks changes the model's loss on a clip by the sum of the tracks' raw
scores by unlearning. Were the catalogue like decoys, any as large a set of its tracks and the decoys together could be
it: the sum is compared with those of random sets of them, drawn without replacement, with as many of each collection as
the catalogue has where the decoys suffice. Sets of decoys alone would vary too little, since decoys are few: against
them a catalogue half as large as the decoys that did not matter was found for 58 % of simulated stores, not for 10 %.
p-value of a clip: (1 + sets whose sum is as large) / (1 + sets); q-value: Benjamini-Hochberg over the clips. It is a
claim about the catalogue, not about any of its tracks. Higher = stronger influence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explorer.store.above_noise import FALSE_RATE, adjust_p_values

METHOD = "unlearning"  # whose raw scores add up
SETS = 999  # random sets
SEED = 20
LARGEST_PART = 0.5  # of the decoys, or of those of a collection: a larger catalogue is most of what it is compared with
_AT_ONCE = 111  # sets whose members are held as one array


@dataclass(frozen=True)
class CatalogueEffect:
    """Arrays [Q] over clips."""

    total: np.ndarray  # sum of the catalogue's raw scores
    usual: np.ndarray  # median of the sums of random sets
    p_value: np.ndarray
    q_value: np.ndarray
    above_noise: np.ndarray  # bool


@dataclass(frozen=True)
class CatalogueTest:
    """Result of unlearning a catalogue as a whole."""

    tracks: int
    decoys: int
    by_collection: bool  # sets hold as many of each collection as the catalogue
    effect: CatalogueEffect | None  # None: decoys are too few


def suffices(tracks: int, decoys: int) -> bool:
    """True where so many decoys can tell anything of so many tracks."""
    return 0 < tracks <= LARGEST_PART * decoys


def judge_catalogue(
    score: np.ndarray, collections: Sequence[str], decoy_score: np.ndarray, decoy_collections: Sequence[str]
) -> CatalogueTest:
    """Compare the sum over a catalogue with those over random sets of its tracks and decoys.

    `score`: [Q, g], raw scores of the catalogue's tracks (not read where decoys are too few), and `collections`: [g],
    theirs; `decoy_score`: [Q, D] and `decoy_collections`: [D], of all decoys.
    """
    own, others = np.asarray(collections, dtype=str), np.asarray(decoy_collections, dtype=str)
    names, wanted = np.unique(own, return_counts=True)
    by_collection = all(suffices(count, int((others == name).sum())) for name, count in zip(names, wanted, strict=True))
    if not suffices(len(own), len(others)):
        return CatalogueTest(len(own), len(others), by_collection, None)
    both = np.concatenate([own, others])
    strata = [np.flatnonzero(both == name) for name in names] if by_collection else [np.arange(len(both))]
    sizes = wanted if by_collection else np.array([len(own)])
    sums = _sum_random_sets(np.concatenate([score, decoy_score], axis=1), strata, sizes)
    total = score.sum(1)
    p_value = (1 + (sums >= total[:, None]).sum(1)) / (1 + SETS)
    q_value = adjust_p_values(p_value, np.zeros(len(p_value), int))
    effect = CatalogueEffect(total, np.median(sums, axis=1), p_value, q_value, q_value <= FALSE_RATE)
    return CatalogueTest(len(own), len(others), by_collection, effect)


def _sum_random_sets(score: np.ndarray, strata: Sequence[np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """Sums [Q, SETS] of `score` [Q, M] over random sets of columns: `sizes[k]` of those in `strata[k]`."""
    dice, sums = np.random.default_rng(SEED), []
    for start in range(0, SETS, _AT_ONCE):
        count = min(_AT_ONCE, SETS - start)
        members = np.zeros((count, score.shape[1]))
        for columns, size in zip(strata, sizes, strict=True):
            drawn = np.argpartition(dice.random((count, len(columns))), size - 1, axis=1)[:, :size]
            members[np.arange(count)[:, None], columns[drawn]] = 1.0
        sums.append(members @ score.T)
    return np.concatenate(sums).T

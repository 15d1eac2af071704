"""The test of *above noise*: which tracks of a clip stand out from decoys, tracks that the model never heard.

The only definition: `precompute` uses it for whole clips (run, index, removal), the page for spans of a clip. NumPy.

A clip's *candidates* are fixed before any score is seen: the training tracks of the same caption as the clip, and those
of the same style. Each stands in a *match bin* with the decoys that match the clip as well. Three steps:

1. Within clip and bin a raw score is centred on the decoys' median and divided by their spread (MAD). A decoy is left
   out of its own centre, and a track leaves one out, too, so that both are compared with as many others. Scores are not
   divided by a track's own spread over other clips: a track that shaped much reacts to much, and would lose by it.
2. p-value: (1 + decoys that stand as high) / (1 + decoys), over the decoys of this bin in all clips together
   (Mondrian conformal p-values: Vovk et al. 2005, section 4.5; Bates et al. 2023). It is 1 for a score that is not
   more than two standard errors above the decoys' median.
3. q-value: Benjamini-Hochberg over the clip's candidates, weighted (Genovese, Roeder & Wasserman 2006): half the weight
   on the same caption, half on the same style. *Above noise*: at most 0.10.

It rests on one assumption: within a bin, a track that did not matter scores like a decoy. Arrays: Q clips x N tracks,
higher = stronger influence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OTHER, SAME_STYLE, SAME_CAPTION = 0, 1, 2  # match bins
TESTED_BINS = (SAME_STYLE, SAME_CAPTION)
FALSE_RATE = 0.10  # above noise: q-value at most this
SE_LIMIT = 2.0  # ... and more than this many standard errors above the decoys' median
LEAST_OTHERS = 4  # decoys that a candidate is centred on; with fewer nothing is said
OWN_SPREAD = 12  # with fewer than these, the spread is that of the bin in all clips
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
LEAST_SPREAD = 1e-12  # a spread up to this is no spread


@dataclass(frozen=True)
class BinRecord:
    """Counts behind the p-values of one clip and match bin: candidates, decoys, comparisons and works."""

    clip: int  # row
    match_bin: int
    candidates: int  # training tracks
    decoys: int  # of the bin in this clip
    null_rows: int  # (clip, decoy) pairs
    null_works: int  # distinct works among them
    can_tell: bool  # False: not even a lone track could be above noise


@dataclass(frozen=True)
class PairClaims:
    """The claim *shaped this clip* for the first clips: arrays [J, N], NaN where nothing is said."""

    p_value: np.ndarray  # of candidates and of the decoys of their bins
    q_value: np.ndarray  # of candidates
    above_noise: np.ndarray  # bool: candidates alone
    bins: list[BinRecord]


def judge_pairs(
    score: np.ndarray,
    std_error: np.ndarray,
    match_bin: np.ndarray,
    is_decoy: np.ndarray,
    work: np.ndarray,
    judged: int,
    gives_nulls: np.ndarray,
) -> PairClaims:
    """Test the first `judged` of Q clips.

    `score`: [Q, N], raw; `std_error`: [J, N], 0 where nothing was drawn; `match_bin`: [Q, N]; `work`: [N], equal for
    renderings of one work; `gives_nulls`: bool [Q], whose decoys enter the nulls. A clip's scores, all multiplied by
    one number, change nothing.
    """
    centred, spread = centre_on_decoys(score, match_bin, is_decoy)
    z = centred / spread
    p_value = np.full((judged, score.shape[1]), np.nan)
    rows: dict[int, tuple[int, int]] = {}
    for number in TESTED_BINS:
        null = (match_bin == number) & is_decoy & gives_nulls[:, None] & np.isfinite(z)
        rows[number] = int(null.sum()), len(np.unique(work[np.nonzero(null)[1]]))
        tested = (match_bin[:judged] == number) & np.isfinite(z[:judged])
        p_value[tested] = compute_p_values(z[:judged][tested], z[null], null[:judged][tested])
    noisy = np.isfinite(p_value) & ~(centred[:judged] > SE_LIMIT * std_error)
    p_value[noisy] = 1.0
    q_value, bins = np.full(p_value.shape, np.nan), []
    for q in range(judged):
        candidate = ~is_decoy & np.isfinite(p_value[q])
        q_value[q, candidate] = adjust_p_values(p_value[q, candidate], match_bin[q, candidate])
        bins += _describe_bins(q, match_bin[q], is_decoy, candidate, rows)
    return PairClaims(p_value, q_value, np.nan_to_num(q_value, nan=1.0) <= FALSE_RATE, bins)


def centre_on_decoys(score: np.ndarray, match_bin: np.ndarray, is_decoy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores [Q, N] less the median of the bin's other decoys, and those decoys' spread, [Q, N]; NaN where too few.

    A bin with few decoys has the spread that is usual for it, beside that of all matching decoys of the clip: scores of
    one clip may all be larger than those of another.
    """
    centred, spread, few = np.full(score.shape, np.nan), np.full(score.shape, np.nan), np.zeros(score.shape, bool)
    for number in TESTED_BINS:
        for q in range(len(score)):
            inside = match_bin[q] == number
            decoys = np.flatnonzero(inside & is_decoy)
            if len(decoys) <= LEAST_OTHERS:
                continue
            medians, spreads = _leave_each_out(score[q, decoys])
            tracks = np.flatnonzero(inside & ~is_decoy)
            left_out = np.concatenate([np.arange(len(decoys)), tracks % len(decoys)])
            members = np.concatenate([decoys, tracks])
            centred[q, members] = score[q, members] - medians[left_out]
            spread[q, members] = spreads[left_out]
            few[q, members] = len(decoys) <= OWN_SPREAD
    of_clip = _measure_clip_spreads(centred, is_decoy)
    for number in TESTED_BINS:
        ratio = (np.abs(centred) / of_clip)[(match_bin == number) & is_decoy & np.isfinite(centred)]
        usual = MAD_TO_DEVIATION * float(np.median(ratio)) if len(ratio) else 0.0
        spread = np.where(few & (match_bin == number), usual * of_clip, spread)
    return centred, np.where(spread > LEAST_SPREAD * of_clip, spread, np.where(np.isnan(spread), np.nan, of_clip))


def _measure_clip_spreads(centred: np.ndarray, is_decoy: np.ndarray) -> np.ndarray:
    """Median magnitude of each clip's centred decoys, [Q, 1]; 1 where there are none, or all are alike."""
    spreads = np.ones((len(centred), 1))
    for q, row in enumerate(centred[:, is_decoy]):
        known = np.abs(row[np.isfinite(row)])
        spreads[q] = (float(np.median(known)) if len(known) else 0.0) or 1.0
    return spreads


def _leave_each_out(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and spread of the others, for each of the values: [m] -> [m], [m]. O(m log m): few medians differ."""
    medians = _find_median_of_others(values)
    spreads = np.empty(len(values))
    for centre in np.unique(medians):
        chosen = medians == centre
        spreads[chosen] = _find_median_of_others(np.abs(values - centre))[chosen]
    return medians, MAD_TO_DEVIATION * spreads


def _find_median_of_others(values: np.ndarray) -> np.ndarray:
    """Median of all values but each: [m] -> [m], m >= 2."""
    count, order = len(values), np.argsort(values, kind="stable")
    ordered, rank = values[order], np.empty(count, int)
    rank[order] = np.arange(count)
    middle = [np.where(i < rank, ordered[i], ordered[i + 1]) for i in ((count - 2) // 2, (count - 1) // 2)]
    return (middle[0] + middle[1]) / 2


def compute_p_values(z: np.ndarray, nulls: np.ndarray, is_null: np.ndarray) -> np.ndarray:
    """(1 + nulls as high) / (1 + nulls), [n]; a value that `is_null` is among the nulls and counts once."""
    ordered = np.sort(nulls)
    as_high = len(ordered) - np.searchsorted(ordered, z, "left")
    return np.where(is_null, as_high / max(1, len(ordered)), (1 + as_high) / (1 + len(ordered)))


def weigh_bins(match_bin: np.ndarray) -> np.ndarray:
    """Weights [n] of a family of candidates, with mean 1: each bin that has any shares equally in the weight."""
    bins, place, sizes = np.unique(match_bin, return_inverse=True, return_counts=True)
    return (len(match_bin) / (len(bins) * sizes))[place] if len(bins) else np.ones(0)


def adjust_p_values(p_value: np.ndarray, match_bin: np.ndarray) -> np.ndarray:
    """q-values [n] of one family: weighted Benjamini-Hochberg."""
    count = len(p_value)
    weighted = p_value / weigh_bins(match_bin)
    order = np.argsort(weighted, kind="stable")
    steps = weighted[order] * count / np.arange(1, count + 1)
    q_value = np.empty(count)
    q_value[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return q_value


def _describe_bins(
    q: int, match_bin: np.ndarray, is_decoy: np.ndarray, candidate: np.ndarray, rows: dict[int, tuple[int, int]]
) -> list[BinRecord]:
    """A record for each bin of a clip with training tracks in it; `candidate`: those that were tested."""
    family, records = match_bin[candidate], []
    bins = len(np.unique(family))
    for number in TESTED_BINS:
        inside = match_bin == number
        tracks, decoys = int((inside & ~is_decoy).sum()), int((inside & is_decoy).sum())
        if not tracks:
            continue
        tested = int((family == number).sum())
        null_rows, null_works = rows[number] if tested else (0, 0)
        can_tell = can_find_one(bins, tested, null_rows)
        records.append(BinRecord(q, number, tracks, decoys, null_rows, null_works, can_tell))
    return records


def can_find_one(bins: int, tested: int, null_rows: int) -> bool:
    """True where a lone track of a bin could be above noise, of `tested` candidates there and `bins` in the family.

    The least p-value is 1 / (1 + nulls); a lone track's q-value is bins x candidates of its bin times that.
    """
    return tested > 0 and bins * tested / (1 + null_rows) <= FALSE_RATE


def find_standing(score: np.ndarray, nulls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The claim *shaped the model*: p- and q-values [n] of tracks' mean scores, against decoys' [m].

    One bin, unweighted Benjamini-Hochberg; NaN without decoys.
    """
    if not len(nulls):
        return np.full(len(score), np.nan), np.full(len(score), np.nan)
    p_value = compute_p_values(score, nulls, np.zeros(len(score), bool))
    return p_value, adjust_p_values(p_value, np.zeros(len(score), int))

"""Compares the ratings of a session with scores and with controls; agreement of listeners; hidden anchors.

Ratings are 1..5. L listeners, P pairs, B bootstrap draws; a missing rating is NaN. Scores are compared within a clip
alone: a correlation is Spearman's, over the pairs of one clip, then the mean over clips. Anchors enter none of it.
Intervals hold 95 % (percentile bootstrap) and answer for other listeners, other clips and other tracks at once:
listeners, clips, and the pairs of each clip are all drawn again. With few of them an interval is itself uncertain.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from explorer.listening_sessions.records import SCALE, RatingFrames

DRAWS = 1000
LEAST_PAIRS = 3  # of a clip, for a correlation
LEAST_DRAWS = DRAWS // 2  # that must be defined, for an interval
MATCH_LEAST = 4  # the clip itself must be rated this high
DUPLICATE_MOST = 1  # steps by which the two ratings of one track may differ
CHANCE = {"match": 2 / 5, "duplicate": 13 / 25}  # of somebody who answers with a die of five faces
COMPARED = ("top", "random", "decoy")


def summarise_ratings(frames: RatingFrames, reliable: bool = False) -> dict[str, Any]:
    """Everything that the host's page shows; plain values, None where something is not defined.

    `reliable`: only listeners who passed at least half of their anchors (all, where there are none).
    """
    questions = list(frames.session.questions)
    main = "overall" if "overall" in questions else questions[0]
    anchors = _count_anchors(frames, main)
    listeners = sorted(set(frames.ratings["listener_id"]))
    counted = [i for i in listeners if not reliable or _is_reliable(anchors.get(i, {}))]
    ratings = frames.ratings[frames.ratings["listener_id"].isin(counted)]
    lanes = frames.lanes[frames.lanes["role"].isin(COMPARED)].reset_index(drop=True)
    values = {name: _read_matrix(ratings, name, counted, lanes["lane_id"].tolist()) for name in questions}
    clip = lanes["clip_id"].to_numpy()
    methods = []
    for name, scores in frames.scores.groupby("method", sort=False):
        by_lane = scores.set_index("lane_id").reindex(lanes["lane_id"])
        score = by_lane["score_norm"].to_numpy(dtype=float)
        top = (by_lane["chosen"].fillna(False).astype(bool) & (lanes["role"] == "top").to_numpy()).to_numpy()
        methods.append(
            {
                "method": name,
                "label": str(scores["label"].iloc[0]),
                "correlation": [{"question": q, **correlate_with_scores(values[q], score, clip)} for q in questions],
                "against": [
                    {"role": role, **compare_with_controls(values[main], top, (lanes["role"] == role).to_numpy(), clip)}
                    for role in ("random", "decoy")
                ],
                "strongest": {
                    "name": f"{scores['label'].iloc[0]}: strongest",
                    **average_rating(values[main], top, clip),
                },
                "points": _list_points(values[main], score, lanes["role"]),
            }
        )
    groups = [
        {"name": label, **average_rating(values[main], (lanes["role"] == role).to_numpy(), clip)}
        for role, label in (("random", "random tracks"), ("decoy", "decoys"))
    ]
    return {
        "main": main,
        "questions": questions,
        "listeners": len(listeners),
        "reliable": sum(_is_reliable(anchors.get(i, {})) for i in listeners),
        "counted": len(counted),
        "ratings": len(ratings),
        "clips": len(set(clip.tolist())),
        "pairs": len(lanes),
        "methods": methods,
        "groups": groups,
        "agreement": [{"question": q, **measure_agreement(values[q])} for q in questions],
        "anchors": _rate_anchors(anchors, counted),
        "by_listener": {str(i): anchors.get(i, {}) for i in listeners},
    }


def _read_matrix(ratings: pd.DataFrame, question: str, listeners: list[int], lanes: list[int]) -> np.ndarray:
    """float [L, P], NaN where nothing was answered."""
    answers = ratings[ratings["question"] == question]
    table = answers.pivot(index="listener_id", columns="lane_id", values="value")
    return table.reindex(index=listeners, columns=lanes).to_numpy(dtype=float)


def _list_points(values: np.ndarray, score: np.ndarray, roles: pd.Series) -> list[dict[str, Any]]:
    means = _weigh_listeners(values, np.ones((1, len(values))))[0]
    rows = zip(score, means, roles, strict=True)
    return [{"score": float(s), "rating": float(m), "role": r} for s, m, r in rows if np.isfinite(s) and np.isfinite(m)]


# --- ratings against scores and controls


def correlate_with_scores(values: np.ndarray, score: np.ndarray, clip: np.ndarray) -> dict[str, Any]:
    """Spearman between mean rating and score within each clip, mean over clips: rho, low, high, clips, pairs.

    values [L, P], score [P], clip [P]. A clip counts where three pairs have both, neither being all alike.
    """
    dice = np.random.default_rng(0)
    known = np.isfinite(score) & np.isfinite(values).any(axis=0) if len(values) else np.zeros(len(score), bool)
    groups = [np.flatnonzero(known & (clip == one)) for one in dict.fromkeys(clip.tolist())]
    groups = [group for group in groups if len(group) >= LEAST_PAIRS]
    plain = _weigh_listeners(values, np.ones((1, len(values))))
    per_clip = np.array([_correlate_ranks(plain[:, g], score[g][None])[0] for g in groups])
    used = [g for g, rho in zip(groups, per_clip, strict=True) if np.isfinite(rho)]
    if not used:
        return {"rho": None, "low": None, "high": None, "clips": 0, "pairs": 0}
    drawn = _weigh_listeners(values, _draw_listeners(dice, len(values)))
    rhos = np.empty((DRAWS, len(used)))
    for column, group in enumerate(used):
        rows = group[dice.integers(0, len(group), (DRAWS, len(group)))]
        rhos[:, column] = _correlate_ranks(np.take_along_axis(drawn, rows, axis=1), score[rows])
    low, high = _find_interval(_average_drawn_clips(dice, rhos))
    rho = float(np.nanmean(per_clip))
    return {"rho": rho, "low": low, "high": high, "clips": len(used), "pairs": sum(map(len, used))}


def compare_with_controls(values: np.ndarray, top: np.ndarray, control: np.ndarray, clip: np.ndarray) -> dict[str, Any]:
    """Difference of mean ratings of the strongest tracks and of controls of the same clip, in points of the scale.

    top, control [P] bool. Gives points, low, high, pairs, controls; the mean over clips that have both.
    """
    known = np.isfinite(values).any(axis=0) if len(values) else np.zeros(len(clip), bool)
    groups = []
    for one in dict.fromkeys(clip.tolist()):
        here = known & (clip == one)
        groups.append((np.flatnonzero(here & top), np.flatnonzero(here & control)))
    groups = [(a, b) for a, b in groups if len(a) and len(b)]
    if not groups:
        return {"points": None, "low": None, "high": None, "pairs": 0, "controls": 0}
    dice = np.random.default_rng(0)
    plain = _weigh_listeners(values, np.ones((1, len(values))))[0]
    points = float(np.mean([plain[a].mean() - plain[b].mean() for a, b in groups]))
    drawn = _weigh_listeners(values, _draw_listeners(dice, len(values)))
    differences = np.stack(
        [_average_drawn_pairs(dice, drawn, a) - _average_drawn_pairs(dice, drawn, b) for a, b in groups], axis=1
    )
    low, high = _find_interval(_average_drawn_clips(dice, differences))
    counts = {"pairs": sum(len(a) for a, _ in groups), "controls": sum(len(b) for _, b in groups)}
    return {"points": points, "low": low, "high": high, **counts}


def average_rating(values: np.ndarray, members: np.ndarray, clip: np.ndarray) -> dict[str, Any]:
    """Mean rating of some pairs, over clips: mean, low, high, pairs. members [P] bool."""
    known = np.isfinite(values).any(axis=0) if len(values) else np.zeros(len(clip), bool)
    groups = [np.flatnonzero(known & members & (clip == one)) for one in dict.fromkeys(clip.tolist())]
    groups = [group for group in groups if len(group)]
    if not groups:
        return {"mean": None, "low": None, "high": None, "pairs": 0}
    dice = np.random.default_rng(0)
    plain = _weigh_listeners(values, np.ones((1, len(values))))[0]
    drawn = _weigh_listeners(values, _draw_listeners(dice, len(values)))
    low, high = _find_interval(
        _average_drawn_clips(dice, np.stack([_average_drawn_pairs(dice, drawn, g) for g in groups], axis=1))
    )
    average = float(np.mean([plain[g].mean() for g in groups]))
    return {"mean": average, "low": low, "high": high, "pairs": sum(map(len, groups))}


def _draw_listeners(dice: np.random.Generator, count: int) -> np.ndarray:
    """Bootstrap counts: the number of times each listener was drawn, [B, L]."""
    return dice.multinomial(count, np.full(count, 1 / count), DRAWS).astype(float)


def _weigh_listeners(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean rating of each pair under each row of weights, [B, P]; NaN where no drawn listener rated it."""
    given = np.isfinite(values)
    total, count = weights @ np.where(given, values, 0.0), weights @ given.astype(float)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _average_drawn_pairs(dice: np.random.Generator, drawn: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean over a group of pairs that are drawn again, [B]; NaN where none of them was rated."""
    rows = group[dice.integers(0, len(group), (DRAWS, len(group)))]
    return _average_rows(np.take_along_axis(drawn, rows, axis=1), np.ones(rows.shape))


def _average_drawn_clips(dice: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Mean over clips that are drawn again, [B, clips] -> [B]."""
    clips = values.shape[1]
    return _average_rows(values, dice.multinomial(clips, np.full(clips, 1 / clips), DRAWS).astype(float))


def _average_rows(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    total, count = (np.where(known, values, 0.0) * weights).sum(axis=1), (known * weights).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _find_interval(values: np.ndarray) -> tuple[float | None, float | None]:
    known = values[np.isfinite(values)]
    if len(known) < LEAST_DRAWS:
        return None, None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def _correlate_ranks(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row, [B, n] and [B or 1, n] -> [B]; pairs with a NaN are left out, a constant row gives NaN."""
    from scipy.stats import rankdata  # late: half a second

    a, b = np.broadcast_arrays(a, b)
    known = np.isfinite(a) & np.isfinite(b)
    ranks = [rankdata(np.where(known, x, np.nan), axis=1, nan_policy="omit") for x in (a, b)]
    count = known.sum(axis=1, keepdims=True)
    centred = [np.where(known, r - np.nansum(r, axis=1, keepdims=True) / np.maximum(count, 1), 0.0) for r in ranks]
    size = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    product = (centred[0] * centred[1]).sum(axis=1)
    return np.divide(product, size, out=np.full(len(a), np.nan), where=size > 1e-12)


# --- listeners among themselves, and the anchors


def measure_agreement(values: np.ndarray) -> dict[str, Any]:
    """Krippendorff's alpha for ordinal data over pairs that two or more rated: alpha, listeners, pairs. 1 = all agree,
    0 = as by chance; None where everybody always gave the same answer, or nothing was rated twice."""
    columns = np.flatnonzero(np.isfinite(values).sum(axis=0) >= 2) if len(values) else np.array([], int)
    given = values[:, columns]
    counts = Counter(int(value) for value in given[np.isfinite(given)])
    counts_rated = {"listeners": int(np.isfinite(given).any(axis=1).sum()), "pairs": len(columns)}
    if len(counts) < 2:
        return {"alpha": None, **counts_rated}
    from nltk.metrics.agreement import AnnotationTask  # late; Apache-2.0, where the package krippendorff is GPL

    def distance(a: int, b: int) -> float:
        """Krippendorff's for ordinal data: how many answers lie from one to the other."""
        low, high = min(a, b), max(a, b)
        between = sum(counts[value] for value in SCALE if low <= value <= high)
        return float((between - (counts[low] + counts[high]) / 2) ** 2)

    rows, pairs = np.nonzero(np.isfinite(given))
    data = [(str(row), str(pair), int(given[row, pair])) for row, pair in zip(rows, pairs, strict=True)]
    return {"alpha": float(AnnotationTask(data, distance=distance).alpha()), **counts_rated}


def _count_anchors(frames: RatingFrames, question: str) -> dict[int, dict[str, list[int]]]:
    """listener -> 'match' and 'duplicate' -> [passed, of], by the answers to one question."""
    ratings = frames.ratings[frames.ratings["question"] == question]
    value = {(row.listener_id, row.lane_id): int(row.value) for row in ratings.itertuples()}
    lanes = frames.lanes
    original = {(row.clip_id, row.track_id): row.lane_id for row in lanes[lanes["role"] == "top"].itertuples()}
    passed_of: dict[int, dict[str, list[int]]] = {}
    for lane in lanes[lanes["role"].isin(("match", "duplicate"))].itertuples():
        for listener in sorted(set(ratings["listener_id"])):
            here = value.get((listener, lane.lane_id))
            twin = value.get((listener, original.get((lane.clip_id, lane.track_id), -1)))
            if here is None or (lane.role == "duplicate" and twin is None):
                continue
            passed = here >= MATCH_LEAST if twin is None or lane.role == "match" else abs(here - twin) <= DUPLICATE_MOST
            counts = passed_of.setdefault(listener, {}).setdefault(str(lane.role), [0, 0])
            counts[0] += passed
            counts[1] += 1
    return passed_of


def _is_reliable(anchors: dict[str, list[int]]) -> bool:
    passed, of = (sum(counts[i] for counts in anchors.values()) for i in (0, 1))
    return 2 * passed >= of


def _rate_anchors(anchors: dict[int, dict[str, list[int]]], listeners: list[int]) -> list[dict[str, Any]]:
    rates = []
    for kind in ("match", "duplicate"):
        counts = [anchors[i][kind] for i in listeners if kind in anchors.get(i, {})]
        passed, of = sum(c[0] for c in counts), sum(c[1] for c in counts)
        rates.append(
            {"kind": kind, "passed": passed, "of": of, "rate": passed / of if of else None, "chance": CHANCE[kind]}
        )
    return rates

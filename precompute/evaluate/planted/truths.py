"""The planted truths of a corpus, and rows of a report that judge scores by them.

Scores come as {method: {'raw' or 'normalised': [Q, N] float64}}, higher = stronger influence. Rows have truth, method,
score, name, value, and low, high where there is an interval; method 'random' is the expectation of a random ranking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.common.results import Row
from precompute.corpus.tracks import Track, read_manifest
from precompute.errors import UserError
from precompute.evaluate.ranking import (
    bootstrap_interval,
    compute_chance_of_hits,
    compute_chance_of_most,
    count_hits_in_top,
    count_wins,
)

TOP, LEAST_HITS = 10, 3  # rare tracks among the best training tracks, in all seeds but one
RESAMPLES = 9999  # of a permutation test, where all relabellings would be more

ByMethod = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class TwinPair:
    """Rows of a weighted track and of its twin among the corpus's tracks."""

    weighted: int
    twin: int


def find_pairs(tracks: Sequence[Track]) -> list[TwinPair]:
    """Weighted tracks and their twins (whose `matched_to` names the weighted track). Raises UserError."""
    row_of = {t.track_id: row for row, t in enumerate(tracks) if t.planted == "weighted"}
    twin_of = {t.matched_to: row for row, t in enumerate(tracks) if t.planted == "twin"}
    for track_id, row in row_of.items():
        if track_id not in twin_of or tracks[twin_of[track_id]].caption != tracks[row].caption:
            raise UserError(f"track {track_id}: planted as weighted, but no twin of the same caption is matched to it")
    return [TwinPair(row, twin_of[track_id]) for track_id, row in row_of.items()]


def find_rare(tracks: Sequence[Track]) -> np.ndarray:
    """Training tracks of the rare style, bool [N]."""
    return np.array([t.planted == "rare" and not t.is_decoy for t in tracks])


def read_unheard(path: Path, tracks: Sequence[Track]) -> list[Track]:
    """Tracks of the rare style that the model never heard, from a manifest of their own. Raises UserError."""
    if not path.is_file():
        raise UserError(f"{path}: not found; --unheard must name a manifest, CSV or Parquet")
    unheard, known = read_manifest(path), {track.track_id for track in tracks}
    captions = {track.caption for track in tracks if track.planted == "rare"}
    for track in unheard:
        if track.track_id in known:
            raise UserError(f"{path}: track_id {track.track_id} is a track of the corpus; unheard ones need their own")
        if not track.is_decoy or track.planted != "rare":
            raise UserError(f"{path}: track {track.track_id}: split must be decoy and planted must be rare")
        if track.caption not in captions:
            raise UserError(f"{path}: track {track.track_id}: no rare track of the corpus has its caption")
    return unheard


def find_rare_caption(tracks: Sequence[Track], rare: np.ndarray) -> tuple[str, float]:
    """The most common caption of the rare tracks, and their median length in seconds."""
    chosen = [track for track, is_rare in zip(tracks, rare, strict=True) if is_rare]
    caption = Counter(t.caption for t in chosen).most_common(1)[0][0]
    return caption, float(np.median([t.duration_s for t in chosen]))


def count_pair_wins(scores: np.ndarray, pairs: Sequence[TwinPair], seeds: int) -> np.ndarray:
    """[P, S]: 1 where the weighted track is above its twin. Row p * seeds + s of scores is a clip of pair p."""
    blocks = scores.reshape(len(pairs), seeds, -1)
    return np.stack(
        [count_wins(block[:, p.weighted], block[:, p.twin]) for block, p in zip(blocks, pairs, strict=True)]
    )


def judge_weighted(scores: ByMethod, pairs: Sequence[TwinPair], seeds: int) -> list[Row]:
    """Rows: share of (pair, seed) in which the weighted track is above its twin, with an interval over pairs."""
    rows = []
    for method, kind, values in _list_scores(scores):
        shares = count_pair_wins(values, pairs, seeds).mean(1)
        rows.append(_make_row("weighted", method, kind, "share_above_twin", shares.mean(), bootstrap_interval(shares)))
    return [*rows, _make_row("weighted", "random", "", "share_above_twin", 0.5)]


def judge_losses(losses: np.ndarray) -> list[Row]:
    """Rows on the effect of the weight: losses [P, 2], mean v-losses of weighted tracks and twins under one bank."""
    difference = losses[:, 0] - losses[:, 1]
    return [
        _make_row("weighted", "loss", "", "mean_weighted", losses[:, 0].mean()),
        _make_row("weighted", "loss", "", "mean_twin", losses[:, 1].mean()),
        _make_row("weighted", "loss", "", "weighted_minus_twin", difference.mean(), bootstrap_interval(difference)),
    ]


def list_weighted_cases(
    scores: ByMethod, pairs: Sequence[TwinPair], seeds: int, losses: np.ndarray, tracks: Sequence[Track]
) -> list[Row]:
    """Single pairs: ids, caption, losses [P, 2], and share of seeds in which the weighted track is above."""
    shares = {
        f"{method}_{kind}": count_pair_wins(v, pairs, seeds).mean(1).tolist()
        for method, kind, v in _list_scores(scores)
    }
    return [
        {
            "track_id": tracks[pair.weighted].track_id,
            "twin_id": tracks[pair.twin].track_id,
            "caption": tracks[pair.weighted].caption,
            "loss": float(losses[number, 0]),
            "loss_twin": float(losses[number, 1]),
            "share_above_twin": {name: values[number] for name, values in shares.items()},
        }
        for number, pair in enumerate(pairs)
    ]


def judge_rare(scores: ByMethod, rare: np.ndarray) -> list[Row]:
    """Rows: rare tracks among the top 10; scores [S, N] and `rare` [N] of the training tracks alone, a clip a seed."""
    rows = []
    for method, kind, values in _list_scores(scores):
        seeds, hits = len(values), count_hits_in_top(values, rare, TOP)
        good = int((hits >= LEAST_HITS).sum())
        rows.append(_make_row("rare", method, kind, "hits_in_top10", hits.mean()))
        rows.append(_make_row("rare", method, kind, "seeds_with_3_hits", good / seeds))
        rows.append(_make_row("rare", method, kind, "success", float(good >= _require_seeds(seeds))))
    each = compute_chance_of_hits(len(rare), int(rare.sum()), TOP, LEAST_HITS)
    expected = min(TOP, len(rare)) * rare.mean()
    return [
        *rows,
        _make_row("rare", "random", "", "hits_in_top10", expected),
        _make_row("rare", "random", "", "seeds_with_3_hits", each),
        _make_row("rare", "random", "", "success", compute_chance_of_most(each, seeds, _require_seeds(seeds))),
    ]


def judge_unheard(scores: ByMethod, heard: np.ndarray, unheard: np.ndarray, losses: np.ndarray) -> list[Row]:
    """Rows: heard rare tracks against unheard ones of the same style and caption, which leaves the hearing alone.

    Scores [S, N], a clip a seed; `heard` and `unheard` bool [N]; `losses` of both, in the order of tracks.
    auc_over_unheard: how often a heard one is above an unheard one; p_value: of a permutation test over tracks
    (one-sided, exact where there are few). alone_in_top10: how often a heard one, by itself among the other tracks,
    stands among the first ten; unheard_alone_in_top10: likewise of an unheard one.
    """
    from scipy.stats import permutation_test

    rows = [
        _make_row("rare", "loss", "", "mean_heard", losses[heard[heard | unheard]].mean()),
        _make_row("rare", "loss", "", "mean_unheard", losses[unheard[heard | unheard]].mean()),
    ]
    others = ~(heard | unheard)
    for method, kind, values in _list_scores(scores):
        both = np.concatenate([values[:, heard], values[:, unheard]], axis=1)
        below = (
            count_wins(both[:, :, None], both[:, None, :]).sum(2).mean(0) - 0.5
        )  # of each, by the mean clip; less itself
        count, rivals = int(heard.sum()), int(unheard.sum())
        auc = (below[:count].mean() - (count - 1) / 2) / rivals
        test = permutation_test(
            (below[:count], below[count:]),
            lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
            vectorized=True,
            n_resamples=RESAMPLES,
            alternative="greater",
            random_state=0,
        )
        rows.append(_make_row("rare", method, kind, "auc_over_unheard", auc))
        rows.append(_make_row("rare", method, kind, "p_value", test.pvalue))
        for name, which in (("alone_in_top10", heard), ("unheard_alone_in_top10", unheard)):
            above = count_wins(values[:, None, others], values[:, which, None]).sum(2)
            rows.append(_make_row("rare", method, kind, name, (above < TOP).mean()))
    return [*rows, _make_row("rare", "random", "", "auc_over_unheard", 0.5)]


def judge_exemplars(cases: Sequence[Row], among: int) -> list[Row]:
    """Rows: ranks of exemplars among `among` tracks; a case's `ranks`, by the tuned model: {method: {kind: [a clip]}}.

    `ranks_untuned`: by the model before tuning, which shows what the caption alone gives away. `places` and
    `places_untuned`: among `rivals` decoys under the exemplar's caption and itself; places_gained by the tuning.
    """
    rows = []
    rivals = cases[0]["rivals"]
    for method, kinds in cases[0]["ranks"].items():
        for kind in kinds:
            ranks, before = (_collect_places(cases, name, method, kind) for name in ("ranks", "ranks_untuned"))
            rows += [
                _make_row("exemplars", method, kind, "mean_rank", ranks.mean(), bootstrap_interval(ranks.mean(1))),
                _make_row(
                    "exemplars", method, kind, "mean_rank_untuned", before.mean(), bootstrap_interval(before.mean(1))
                ),
                _make_row("exemplars", method, kind, "share_first", (ranks == 1).mean()),
                _make_row("exemplars", method, kind, "share_in_top10", (ranks <= TOP).mean()),
            ]
            if rivals:
                after, before = (_collect_places(cases, name, method, kind) for name in ("places", "places_untuned"))
                gained = before.mean(1) - after.mean(1)
                rows += [
                    _make_row("exemplars", method, kind, "mean_place", after.mean(), bootstrap_interval(after.mean(1))),
                    _make_row("exemplars", method, kind, "mean_place_untuned", before.mean()),
                    _make_row("exemplars", method, kind, "places_gained", gained.mean(), bootstrap_interval(gained)),
                ]
    rows += [
        _make_row("exemplars", "random", "", "mean_rank", (among + 1) / 2),
        _make_row("exemplars", "random", "", "mean_rank_untuned", (among + 1) / 2),
        _make_row("exemplars", "random", "", "share_first", 1 / among),
        _make_row("exemplars", "random", "", "share_in_top10", min(1.0, TOP / among)),
    ]
    if rivals:
        rows += [
            _make_row("exemplars", "random", "", "mean_place", (rivals + 2) / 2),
            _make_row("exemplars", "random", "", "mean_place_untuned", (rivals + 2) / 2),
            _make_row("exemplars", "random", "", "places_gained", 0.0),
        ]
    return rows


def _collect_places(cases: Sequence[Row], name: str, method: str, kind: str) -> np.ndarray:
    """Ranks or places of all cases, [exemplars, clips]."""
    return np.array([case[name][method][kind] for case in cases], dtype=float)


def select_clips(scores: ByMethod, clips: slice) -> ByMethod:
    """Scores of some of the clips."""
    return {method: {kind: values[clips] for kind, values in kinds.items()} for method, kinds in scores.items()}


def select_tracks(scores: ByMethod, tracks: np.ndarray) -> ByMethod:
    """Scores of some of the tracks."""
    return {method: {kind: values[:, tracks] for kind, values in kinds.items()} for method, kinds in scores.items()}


def _require_seeds(seeds: int) -> int:
    """Seeds that must succeed: all but one; the only one, where there is one."""
    return max(1, seeds - 1)


def _list_scores(scores: ByMethod) -> list[tuple[str, str, np.ndarray]]:
    """(method, kind, scores) of all."""
    return [(method, kind, values) for method, kinds in scores.items() for kind, values in kinds.items()]


def _make_row(
    truth: str, method: str, score: str, name: str, value: float, interval: tuple[float, float] | None = None
) -> Row:
    row: Row = {"truth": truth, "method": method, "score": score, "name": name, "value": float(value)}
    return row if interval is None else {**row, "low": interval[0], "high": interval[1]}

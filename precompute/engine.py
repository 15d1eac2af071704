"""Scores of all clips in one pass over the tracks: each track's gradient once, dotted with every direction (way (c)).

Directions of a clip and scores of a shard of tracks are kept as they come, so a killed pass redoes one shard at most.
Neither the order of the tracks nor a resume changes a bit of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from precompute.cache import Cache, progress
from precompute.config import BankSection, RunConfig, fingerprint
from precompute.fisher import diagonal_fisher, inverse
from precompute.methods.base import Method
from precompute.methods.unlearning import dot
from precompute.model import Items, Model, NoiseBank
from precompute.workers import count_for, run_jobs

SHARD = 16  # tracks


@dataclass(frozen=True)
class Queries:
    """The clips of a run, in three kinds that need different detail."""

    shown: Items  # generated clips: standard errors, windows
    targets: Items  # training tracks unlearned themselves: standard errors
    cohort: Items  # further generated clips: scores alone


@dataclass(frozen=True)
class Scores:
    """Raw results, float64; clips in the order shown, targets."""

    cells: np.ndarray  # [Q, N, R, S, HALVES]: partial scores; their mean is the score
    windows: np.ndarray  # [Q shown, N, W]: parts of the score by window of the clip, NaN past a clip's last window
    cohort: np.ndarray  # [K, N]: scores of the cohort clips
    directions: np.ndarray  # [Q shown, P] float32: kept for moments and audits

    @property
    def score(self) -> np.ndarray:
        """[Q, N]"""
        return self.cells.mean((2, 3, 4))


def noise_bank(section: BankSection) -> NoiseBank:
    return NoiseBank(section.replicates, section.strata, section.draws_per_cell, section.seed)


def preconditioner(model: Model, tracks: Items, config: RunConfig, cache: Cache, key: str) -> torch.Tensor:
    """1 / (damped diagonal Fisher of the training tracks), [P]."""

    def compute() -> dict[str, np.ndarray]:
        with_progress = _Reporter("Fisher")
        fisher = diagonal_fisher(model, tracks, config.unlearning.layers, config.fisher, with_progress)
        return {"fisher": fisher.numpy()}

    key = fingerprint(key, config.fisher, config.unlearning.layers)
    fisher = torch.from_numpy(cache.get("fisher", key, compute)["fisher"])
    return inverse(fisher, config.fisher.damping)


def attribute(
    model: Model,
    method: Method,
    queries: Queries,
    tracks: Items,
    inverse_fisher: torch.Tensor,
    config: RunConfig,
    cache: Cache,
    key: str,
) -> Scores:
    """Directions of every clip, then one pass over the tracks. `key` names model, tracks and clips by content."""
    bank = noise_bank(config.bank)
    key = fingerprint(key, config.unlearning, config.fisher)
    detailed, summed, window_counts = _all_directions(model, method, queries, inverse_fisher, cache, key)
    shards = [range(start, min(start + SHARD, len(tracks))) for start in range(0, len(tracks), SHARD)]
    key = fingerprint(key, config.bank)

    def compute(shard: range) -> dict[str, np.ndarray]:
        cells, sums = [], []
        for row in shard:
            gradients = method.gradients(model, tracks[[row]], bank)
            cells.append(dot(gradients, detailed).numpy())
            sums.append(dot(gradients.mean(0, keepdim=True), summed)[0].numpy())
        return {"cells": np.stack(cells), "sums": np.stack(sums)}

    def kept(number: int) -> dict[str, np.ndarray]:
        return cache.get(f"scores-{number:05d}", key, lambda: compute(shards[number]))

    missing = [number for number in range(len(shards)) if not cache.has(f"scores-{number:05d}", key)]
    run_jobs(f"scores, shards of {SHARD} tracks", missing, kept, count_for(model.device, detailed.shape[1]))
    arrays = [kept(number) for number in range(len(shards))]
    cell_rows, sum_rows = ([part[name] for part in arrays] for name in ("cells", "sums"))
    clips = len(queries.shown) + len(queries.targets)
    cells = np.concatenate(cell_rows).reshape(len(tracks), bank.replicates, bank.strata, clips, -1)
    sums = np.concatenate(sum_rows)  # [N, all windows + K]
    by_window = np.full((len(window_counts), len(tracks), max(window_counts)), np.nan)
    start = 0
    for q, count in enumerate(window_counts):
        by_window[q, :, :count] = sums[:, start : start + count]
        start += count
    return Scores(
        cells=np.ascontiguousarray(cells.transpose(3, 0, 1, 2, 4)),
        windows=by_window,
        cohort=sums[:, start:].T.copy(),
        directions=detailed.unflatten(0, (clips, -1))[: len(queries.shown)].mean(1).numpy(),
    )


def _all_directions(
    model: Model, method: Method, queries: Queries, inverse_fisher: torch.Tensor, cache: Cache, key: str
) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Directions, and how many windows each shown clip has.

    The first tensor [(shown + targets) x HALVES, P] holds whole clips by half of the ascent draws; the second, [all
    windows + cohort, P], the shown clips by window, then the cohort's clips, over all draws.
    """
    jobs: list[tuple[str, Items]] = []
    for kind in ("shown", "targets", "cohort"):
        items: Items = getattr(queries, kind)
        jobs += [(kind, items[[row]]) for row in range(len(items))]

    def compute(kind: str, clip: Items) -> dict[str, np.ndarray]:
        found = method.directions(model, clip, inverse_fisher, kind == "shown")  # [HALVES, W, P]
        none = found[:0, 0]
        by_half = none if kind == "cohort" else found.sum(1)
        by_window = none if kind == "targets" else found.mean(0)
        return {"halves": by_half.numpy(), "windows": by_window.numpy()}

    def kept(number: int) -> dict[str, np.ndarray]:
        return cache.get(f"direction-{number:04d}", key, lambda: compute(*jobs[number]))

    missing = [number for number in range(len(jobs)) if not cache.has(f"direction-{number:04d}", key)]
    run_jobs("directions", missing, kept, count_for(model.device, len(inverse_fisher)))
    halves, parts, window_counts = [], [], []
    for number, (kind, _) in enumerate(jobs):
        arrays = kept(number)
        halves.append(torch.from_numpy(arrays["halves"]))
        parts.append(torch.from_numpy(arrays["windows"]))
        if kind == "shown":
            window_counts.append(len(arrays["windows"]))
    detailed = torch.cat(halves)
    del halves  # gigabytes
    return detailed, torch.cat(parts), window_counts


def moments_of(
    model: Model,
    method: Method,
    tracks: Items,
    pairs: Sequence[tuple[int, int]],
    directions: np.ndarray,
    config: RunConfig,
    cache: Cache,
    key: str,
) -> dict[tuple[int, int], np.ndarray]:
    """Influence over time in the track for (clip row, track row) pairs: [F] float64 each, by forward mode."""
    bank = noise_bank(config.bank)
    key = fingerprint(key, config.unlearning, config.fisher, config.bank)
    found = {}
    for q, i in progress("moments", pairs):

        def compute(q: int = q, i: int = i) -> dict[str, np.ndarray]:
            rise = method.moments(model, tracks[[i]], torch.from_numpy(directions[q]), bank)
            return {"rise": rise.numpy()}

        found[q, i] = cache.get(f"moments-{q:04d}-{i:06d}", key, compute)["rise"]
    return found


class _Reporter:
    """Turns a (done, of) callback into the run's progress lines."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.lines: Any = None

    def __call__(self, done: int, of: int) -> None:
        if self.lines is None:
            self.lines = progress(self.what, range(of))
            next(self.lines)
        next(self.lines, None)

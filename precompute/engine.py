"""One pass over the tracks for all that look at their gradients: each track's gradient once, seen by every tap.

Directions of a clip and what taps take of a shard of tracks are kept as they come, so a killed pass redoes one shard at
most, and a method that is added looks at the tracks for itself alone. Neither the order of the tracks nor a resume
changes a bit of the result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from precompute.cache import Arrays, Cache
from precompute.config import BankSection, RunConfig
from precompute.curvature import preconditioner
from precompute.directions import Tap
from precompute.gradients import Kind, of_track
from precompute.methods.base import Queries
from precompute.methods.unlearning import Unlearning
from precompute.model import Items, Model, NoiseBank
from precompute.workers import count_for, run_jobs

__all__ = ["Queries", "Scores", "attribute", "gather", "noise_bank", "preconditioner"]
SHARD = 16  # tracks


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


def gather(
    model: Model, tracks: Items, bank: NoiseBank, taps: Sequence[Tap], cache: Cache
) -> dict[tuple[str, str], Arrays]:
    """What the taps take of every track, by their (stage, key), arrays stacked over the N tracks."""
    different = list({(tap.stage, tap.key): tap for tap in taps}.values())
    shards = [range(start, min(start + SHARD, len(tracks))) for start in range(0, len(tracks), SHARD)]

    def lacking(number: int) -> list[Tap]:
        return [tap for tap in different if not cache.has(f"{tap.stage}-{number:05d}", tap.key)]

    def compute(number: int) -> None:
        wanted, parts = lacking(number), {}
        own, gradient = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, 0.0)
        for row in shards[number]:
            seen = of_track(model, tracks[[row]], list(dict.fromkeys(tap.kind for tap in wanted)), bank)
            for tap in wanted:
                began = time.monotonic()
                parts.setdefault(tap, []).append(tap.take(seen.rows[tap.kind], seen.losses))
                own[tap] += time.monotonic() - began
                gradient[tap] += seen.seconds[tap.kind]
        for tap, taken in parts.items():
            arrays = {name: np.stack([part[name] for part in taken]) for name in taken[0]}
            cache.note(f"{tap.stage}-{number:05d}-gradients", tap.key, gradient[tap])
            cache.put(f"{tap.stage}-{number:05d}", tap.key, arrays, own[tap])

    missing = [number for number in range(len(shards)) if lacking(number)]
    needed = {tap for number in missing for tap in lacking(number)}
    try:
        for tap in different:
            if tap in needed:
                tap.prepare()
        what = f"scores, shards of {SHARD} tracks"
        run_jobs(what, missing, compute, count_for(model.device, max(tap.parameters for tap in different)))
    finally:
        for tap in needed:
            tap.release()
    return {(tap.stage, tap.key): _stacked(tap, len(shards), cache) for tap in different}


def _stacked(tap: Tap, shards: int, cache: Cache) -> Arrays:
    parts = [cache.get(f"{tap.stage}-{number:05d}", tap.key, dict) for number in range(shards)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def seconds_of(taps: Sequence[Tap], tracks: int, cache: Cache) -> float:
    """What the taps of one method took, as if it had the pass to itself: gradients, products, and the clips' side."""
    stages = [f"-{number:05d}" for number in range(-(-tracks // SHARD))]
    own = sum(cache.seconds(tap.stage + stage, tap.key) for tap in taps for stage in stages)
    gradients: dict[Kind, float] = {}
    for tap in taps:
        spent = sum(cache.seconds(f"{tap.stage}{stage}-gradients", tap.key) for stage in stages)
        gradients[tap.kind] = max(spent, gradients.get(tap.kind, 0.0))
    return own + sum(gradients.values()) + max((tap.seconds(cache) for tap in taps), default=0.0)


def attribute(
    model: Model,
    method: Unlearning,
    queries: Queries,
    tracks: Items,
    inverse_fisher: torch.Tensor,
    config: RunConfig,
    cache: Cache,
    key: str,
) -> Scores:
    """Unlearning by itself: directions of every clip, then one pass. `key` names model, tracks and clips by content."""
    tap = method.step_tap(model, queries, lambda: inverse_fisher, config, cache, key)
    found = gather(model, tracks, noise_bank(config.bank), [tap], cache)[tap.stage, tap.key]
    result = method.assembled(found, model, queries, noise_bank(config.bank))
    whole = [tap.directions.whole(number).numpy() for number in range(len(queries.shown))]
    assert result.windows is not None
    return Scores(result.cells, result.windows, result.cohort, np.stack(whole))

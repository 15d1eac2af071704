"""One pass over the tracks for all that look at their gradients: each track's gradient once, seen by every tap.

Directions of a clip and what taps take of a shard of tracks are kept as they come, so a killed pass redoes one shard at
most, and a method that is added looks at the tracks for itself alone. Neither the order of the tracks nor a resume
changes a bit of the result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.config.run import BankSection
from precompute.gradients import cell_products
from precompute.gradients.curvature import preconditioner
from precompute.gradients.directions import Tap
from precompute.gradients.per_item import Kind, of_track
from precompute.methods.base import Queries
from precompute.model.diffusion import Items, Model, NoiseBank

__all__ = ["Queries", "gather", "noise_bank", "preconditioner"]
SHARD = 16  # tracks


def noise_bank(section: BankSection) -> NoiseBank:
    return NoiseBank(section.replicates, section.strata, section.draws_per_cell, section.seed, section.t_low)


def gather(
    model: Model, tracks: Items, bank: NoiseBank, taps: Sequence[Tap], cache: Cache
) -> dict[tuple[str, str], Arrays]:
    """What the taps take of every track, by their (stage, key), arrays stacked over the N tracks."""
    different = list({(tap.stage, tap.key): tap for tap in taps}.values())
    shards = [range(start, min(start + SHARD, len(tracks))) for start in range(0, len(tracks), SHARD)]

    def lacking(number: int) -> list[Tap]:
        return [tap for tap in different if not cache.has(entry_of(tap, model, number))]

    def compute(number: int) -> None:
        for tap, taken in of_shard(model, tracks, shards[number], lacking(number), bank).items():
            keep(tap, model, number, taken, cache)

    missing = [number for number in range(len(shards)) if lacking(number)]
    needed = {tap for number in missing for tap in lacking(number)}
    try:
        for tap in different:
            if tap in needed:
                tap.prepare()
        what = f"scores, shards of {SHARD} tracks"
        workers = count_workers(model.device, max(tap.parameters for tap in different))
        run_jobs(what, missing, compute, workers, cache)
    finally:
        for tap in needed:
            tap.release()
    return {(tap.stage, tap.key): _stacked(tap, kept_as(tap, model), len(shards), cache) for tap in different}


@dataclass(frozen=True)
class Taken:
    """What a tap took of a shard."""

    arrays: Arrays  # stacked over its tracks
    own_s: float  # products
    gradient_s: float  # the gradients that it looked at


def kept_as(tap: Tap, model: Model) -> str:
    """A tap's key in the cache: arithmetic that may change a result has names of its own."""
    precision = model.arithmetic.precision
    return tap.key if precision == "fp32" else f"{tap.key}-{precision}"


def entry_of(tap: Tap, model: Model, number: int, part: str = "") -> Entry:
    """The name in the cache of what a tap took of shard `number`."""
    return Entry(tap.stage, kept_as(tap, model), number, part)


def of_shard(
    model: Model, tracks: Items, rows: Sequence[int], taps: Sequence[Tap], bank: NoiseBank
) -> dict[Tap, Taken]:
    """What the taps, prepared, take of some tracks, within `[pass] memory_gb`. Pieces change nothing in the result."""
    reading = read_ahead(tracks, rows)
    memory = model.arithmetic.memory_gb * 1e9
    taken: dict[Tap, list[Arrays]] = {tap: [] for tap in taps}
    own, gradient = dict.fromkeys(taps, 0.0), dict.fromkeys(taps, 0.0)
    by_track = [tap for tap in taps if not cell_products.needed(model, tap, bank, memory)]
    for tap in taps:
        if tap not in by_track:
            taken[tap], own[tap], gradient[tap] = cell_products.by_cell(model, tracks[list(rows)], tap, bank, memory)
    kinds = list(dict.fromkeys(tap.kind for tap in by_track))
    size = max((4 * len(bank.cells()) * tap.parameters * len(kinds) for tap in by_track), default=1)
    group = min(len(rows), max(1, int(memory / 2 / size))) if any(tap.shares_reading for tap in by_track) else 1
    for start in range(0, len(rows) if by_track else 0, group):
        seen = [of_track(model, tracks[[row]], kinds, bank) for row in rows[start : start + group]]
        for tap in by_track:
            began = time.monotonic()
            taken[tap] += tap.take_all([(track.rows[tap.kind], track.losses) for track in seen])
            own[tap] += time.monotonic() - began
            gradient[tap] += sum(track.seconds[tap.kind] for track in seen)
    reading.join()
    return {
        tap: Taken({n: np.stack([part[n] for part in parts]) for n in parts[0]}, own[tap], gradient[tap])
        for tap, parts in taken.items()
    }


def read_ahead(tracks: Items, rows: Sequence[int]) -> threading.Thread:
    """Reads a shard's latents, which lie on disk, while its first track is worked on; the system then holds them."""

    def read() -> None:
        for row in rows:
            tracks.latents[row].numpy().max()

    thread = threading.Thread(target=read, name="latents", daemon=True)
    thread.start()
    return thread


def keep(tap: Tap, model: Model, number: int, taken: Taken, cache: Cache) -> None:
    """One shard of the run's own numbering into the cache."""
    cache.note_seconds(entry_of(tap, model, number, "gradients"), taken.gradient_s)
    cache.put(entry_of(tap, model, number), taken.arrays, taken.own_s)


def _stacked(tap: Tap, key: str, shards: int, cache: Cache) -> Arrays:
    parts = [cache.read(Entry(tap.stage, key, number)) for number in range(shards)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def seconds_of(taps: Sequence[Tap], model: Model, tracks: int, cache: Cache) -> float:
    """What the taps of one method took, as if it had the pass to itself: gradients, products, and the clips' side."""
    shards = range(-(-tracks // SHARD))
    own = sum(cache.read_seconds(entry_of(tap, model, number)) for tap in taps for number in shards)
    gradients: dict[Kind, float] = {}
    for tap in taps:
        spent = sum(cache.read_seconds(entry_of(tap, model, number, "gradients")) for number in shards)
        gradients[tap.kind] = max(spent, gradients.get(tap.kind, 0.0))
    return own + sum(gradients.values()) + max((tap.seconds(cache) for tap in taps), default=0.0)

"""One pass over the tracks for all that look at their gradients: each track's gradient once, seen by every tap.

Conventions: N tracks are cut into shards of `[pass] shard_tracks`, numbered from 0; what a tap keeps of a shard is one
entry of the cache, arrays stacked over the shard's tracks. Times are in seconds.

A killed pass redoes the shards that were being worked on, and a method that is added looks at the tracks for itself
alone. Neither the order of the tracks nor their shards nor a resume changes a bit of the result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.config.run import fingerprint
from precompute.gradients import cell_products
from precompute.gradients.item_gradients import GradientKind, compute_track_gradients
from precompute.gradients.taps import StepTap, Tap
from precompute.model.diffusion import Items, Model, NoiseBank


def gather(
    model: Model, tracks: Items, bank: NoiseBank, taps: Sequence[Tap], cache: Cache
) -> dict[tuple[str, str], Arrays]:
    """Collect what the taps take of every track: by their (stage, key), arrays stacked over the N tracks.

    Shards that are in the cache are read from it.
    """
    track_pass = TrackPass(model, tracks, bank, taps, cache)
    track_pass.drop_damaged()
    missing = track_pass.find_missing()
    with track_pass.prepare_taps(missing):
        what = f"scores, shards of {model.arithmetic.shard_tracks} tracks"
        run_jobs(what, missing, track_pass.compute, track_pass.count_workers(), cache)
    return track_pass.read()


class TrackPass:
    """The shards of one pass: which are missing, the work on one of them, and the results of all."""

    def __init__(self, model: Model, tracks: Items, bank: NoiseBank, taps: Sequence[Tap], cache: Cache) -> None:
        self.model, self.tracks, self.bank, self.cache = model, tracks, bank, cache
        self.taps = list({(tap.stage, tap.key): tap for tap in taps}.values())
        self.shards = cut_shards(len(tracks), model.arithmetic.shard_tracks)

    def name_entry(self, tap: Tap, number: int) -> Entry:
        """The name in the cache of what a tap takes of a shard."""
        return name_entry(tap, self.model, number)

    def drop_damaged(self) -> None:
        """Remove damaged entries, with a printed line for each."""
        for tap in self.taps:
            for number in range(len(self.shards)):
                self.cache.drop_damaged(self.name_entry(tap, number))

    def find_missing(self) -> list[int]:
        """Numbers of the shards without an entry for every tap."""
        return [number for number in range(len(self.shards)) if self._find_taps(number)]

    def _find_taps(self, number: int) -> list[Tap]:
        """Taps without an entry of a shard."""
        return [tap for tap in self.taps if not self.cache.has(self.name_entry(tap, number))]

    @contextmanager
    def prepare_taps(self, missing: Sequence[int]) -> Iterator[None]:
        """Hold in memory what `compute` needs for these shards, such as the clips' directions."""
        needed = {tap for number in missing for tap in self._find_taps(number)}
        try:
            for tap in self.taps:
                if tap in needed:
                    tap.prepare()
            yield
        finally:
            for tap in needed:
                tap.release()

    def count_workers(self) -> int:
        """Return the number of processes that suits the pass."""
        return count_workers(self.model.device, max(tap.parameters for tap in self.taps))

    def compute(self, number: int) -> None:
        """Write what is missing of a shard into the cache. Raises OSError naming the file where the disk is full."""
        taps = self._find_taps(number)
        for tap, shard in compute_shard(self.model, self.tracks, self.shards[number], taps, self.bank).items():
            self.cache.note_seconds(name_entry(tap, self.model, number, "gradients"), shard.gradient_s)
            self.cache.put(self.name_entry(tap, number), shard.arrays, shard.own_s)

    def read(self) -> dict[tuple[str, str], Arrays]:
        """Read the results of all tracks: by a tap's (stage, key), arrays stacked over the N tracks."""
        arrays = {}
        for tap in self.taps:
            parts = [self.cache.read(self.name_entry(tap, number)) for number in range(len(self.shards))]
            arrays[tap.stage, tap.key] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return arrays


def cut_shards(tracks: int, size: int) -> list[range]:
    """Runs of at most `size` rows of the tracks, in order."""
    return [range(start, min(start + size, tracks)) for start in range(0, tracks, size)]


def name_entry(tap: Tap, model: Model, number: int, part: str = "") -> Entry:
    """The name in the cache of what a tap took of shard `number`.

    Its key holds the size of a shard, and the arithmetic where that may change a result.
    """
    settings = model.arithmetic
    return Entry(tap.stage, fingerprint(tap.key, settings.precision, settings.shard_tracks), number, part)


@dataclass(frozen=True)
class ShardResult:
    """Results of one tap for one shard."""

    arrays: Arrays  # stacked over its tracks
    own_s: float  # products
    gradient_s: float  # the gradients that it looked at


def compute_shard(
    model: Model, tracks: Items, rows: Sequence[int], taps: Sequence[Tap], bank: NoiseBank
) -> dict[Tap, ShardResult]:
    """Compute the results of prepared taps for the tracks `rows`, within `[pass] memory_gb`.

    Into which pieces the memory cuts the work changes nothing in the result.
    """
    reading = read_ahead(tracks, rows)
    memory = model.arithmetic.memory_gb * 1e9
    arrays: dict[Tap, list[Arrays]] = {tap: [] for tap in taps}
    own, gradient = dict.fromkeys(taps, 0.0), dict.fromkeys(taps, 0.0)
    by_track = []
    for tap in taps:
        if isinstance(tap, StepTap) and cell_products.is_needed(model, tap, bank, memory):
            products = cell_products.multiply_by_cell(model, tracks[list(rows)], tap, bank, memory)
            arrays[tap], own[tap], gradient[tap] = products
        else:
            by_track.append(tap)
    kinds = list(dict.fromkeys(tap.kind for tap in by_track))
    size = max((4 * len(bank.cells()) * tap.parameters * len(kinds) for tap in by_track), default=1)
    group = min(len(rows), max(1, int(memory / 2 / size))) if any(tap.reads_from_disk for tap in by_track) else 1
    for start in range(0, len(rows) if by_track else 0, group):
        seen = [compute_track_gradients(model, tracks[[row]], kinds, bank) for row in rows[start : start + group]]
        for tap in by_track:
            began = time.monotonic()
            arrays[tap] += tap.take([track.select(tap.kind) for track in seen])
            own[tap] += time.monotonic() - began
            gradient[tap] += sum(track.seconds[tap.kind] for track in seen)
    reading.join()
    return {
        tap: ShardResult({n: np.stack([part[n] for part in parts]) for n in parts[0]}, own[tap], gradient[tap])
        for tap, parts in arrays.items()
    }


def read_ahead(tracks: Items, rows: Sequence[int]) -> threading.Thread:
    """Reads a shard's latents, which lie on disk, while its first track is worked on; the system then holds them."""

    def read() -> None:
        for row in rows:
            tracks.latents[row].numpy().max()

    thread = threading.Thread(target=read, name="latents", daemon=True)
    thread.start()
    return thread


def sum_seconds(taps: Sequence[Tap], model: Model, tracks: int, cache: Cache) -> float:
    """Sum the seconds of one method's taps, as if it had the pass to itself: gradients, products, the clips' side."""
    shards = range(len(cut_shards(tracks, model.arithmetic.shard_tracks)))
    own = sum(cache.read_seconds(name_entry(tap, model, number)) for tap in taps for number in shards)
    gradients: dict[GradientKind, float] = {}
    for tap in taps:
        spent = sum(cache.read_seconds(name_entry(tap, model, number, "gradients")) for number in shards)
        gradients[tap.kind] = max(spent, gradients.get(tap.kind, 0.0))
    return own + sum(gradients.values()) + max((tap.read_seconds(cache) for tap in taps), default=0.0)

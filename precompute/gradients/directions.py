"""Directions in weight space of all clips, [P] float32 each, whose products with a track's gradient are its scores.

They are computed once and kept on disk; loaded together they are the largest thing in memory, so a pass holds each set
once, however many methods look at it. Products are float32 over short runs, their sums float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.gradients.context import CLIP_KINDS, Queries
from precompute.model.diffusion import Items

HALVES = 2  # independent halves of a clip's draws
CHUNK = 1 << 18  # parameters a partial sum: float32 products, float64 totals


class DiskRows:
    """Rows [Q, P] that lie on disk, read by runs of columns, so that they never need to be in memory together."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = [part for part in parts if len(part)]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Row after row, [P] each."""
        for number in range(len(self)):
            yield self.select_rows(number, number + 1).read_columns(0, None)[0]

    def read_columns(self, start: int, end: int | None) -> torch.Tensor:
        """Columns [Q, end - start]; to the last where `end` is None."""
        pieces = [torch.from_numpy(np.array(part[:, start:end])) for part in self.parts]
        return torch.cat(pieces) if pieces else torch.zeros(0, 0 if end is None else end - start)

    def select_rows(self, start: int, end: int) -> DiskRows:
        """Fewer rows, still on disk."""
        selected, first = [], 0
        for part in self.parts:
            selected.append(part[max(0, start - first) : max(0, end - first)])
            first += len(part)
        return DiskRows(selected)


Rows = torch.Tensor | DiskRows


def multiply(rows: torch.Tensor, directions: Rows) -> torch.Tensor:
    """[R, P] x [Q, P] -> [R, Q] float64: float32 products of short runs, float64 totals."""
    return multiply_each([rows], directions)[0]


def multiply_each(tracks: Sequence[torch.Tensor], directions: Rows) -> list[torch.Tensor]:
    """`multiply` for the rows of several tracks, each run of the directions being read once for all."""
    totals = [torch.zeros(len(rows), len(directions), dtype=torch.float64) for rows in tracks]
    if len(directions):
        for start in range(0, tracks[0].shape[1], CHUNK):
            end = start + CHUNK
            run = (
                directions.read_columns(start, end) if isinstance(directions, DiskRows) else directions[:, start:end]
            ).T
            for total, rows in zip(totals, tracks, strict=True):
                total += (rows[:, start:end] @ run).double()
    return totals


def _read_run(directions: Rows, start: int, end: int) -> torch.Tensor:
    """Columns [Q, end - start]."""
    return directions.read_columns(start, end) if isinstance(directions, DiskRows) else directions[:, start:end]


class LoadedDirections(NamedTuple):
    """Directions of all clips, in the order of the clips."""

    halves: Rows  # [Q x HALVES, P]: of the shown clips and targets, by half of their draws
    sums: Rows  # [all windows + K, P]: of the shown clips by window, then of the cohort's clips; over both halves


@dataclass
class DirectionRule:
    """Functions that compute the direction of one clip; their flag: cut the clip into windows."""

    compute: Callable[[Items, bool], torch.Tensor]  # -> [HALVES, W, P]
    compute_half: Callable[[Items, bool, int], torch.Tensor] | None = None  # the other half zero; None = not apart
    prepare: Callable[[], object] | None = None  # makes what all clips share, before workers are forked


class Directions:
    """The directions of all clips by one rule, in the order shown, targets, cohort; computed when first needed."""

    def __init__(
        self, queries: Queries, rule: DirectionRule, device: torch.device, parameters: int, cache: Cache, key: str
    ) -> None:
        """`parameters`: P; `key`: names by content all that the directions depend on."""
        self.rule, self.device, self.parameters, self.cache, self.key = rule, device, parameters, cache, key
        self.clips = [
            (kind, queries.items(kind)[[row]]) for kind in CLIP_KINDS for row in range(len(queries.items(kind)))
        ]
        self.cohort = len(queries.cohort)
        self.memory_gb = float("inf")  # above it, directions stay on disk
        self._loaded: LoadedDirections | None = None
        self._average: tuple[int, torch.Tensor] | None = None

    def load_clip(self, number: int) -> Arrays:
        """One clip's `halves` [HALVES, P] (none of the cohort), `windows` over both halves [W, P] (none of targets)."""

        def compute() -> Arrays:
            kind, clip = self.clips[number]
            halves = self._read_halves(number)
            by_part = self.rule.compute(clip, kind == "shown") if halves is None else halves[0] + halves[1]
            none = by_part[:0, 0]  # by_part: [HALVES, W, P]
            by_half = none if kind == "cohort" else by_part.sum(1)
            by_window = none if kind == "targets" else by_part.mean(0)
            return {"halves": by_half.numpy(), "windows": by_window.numpy()}

        return self.cache.get(self._name_entry(number), compute)

    def ensure(self) -> None:
        """Compute those that are missing, by forked workers where that pays."""
        missing = [number for number in range(len(self.clips)) if not self.cache.has(self._name_entry(number))]
        if missing and self.rule.prepare is not None:
            self.rule.prepare()
        workers = count_workers(self.device, self.parameters)
        if self.rule.compute_half is not None and 0 < HALVES * len(missing) <= workers:
            self._compute_by_half(missing, workers)  # one clip would keep one worker busy
        else:
            run_jobs("directions", missing, self.load_clip, workers, self.cache)

    def map(self) -> LoadedDirections:
        """Open all directions on disk, missing ones computed."""
        self.ensure()
        arrays = [self.cache.map(self._name_entry(number)) for number in range(len(self.clips))]
        return LoadedDirections(*(DiskRows([part[name] for part in arrays]) for name in ("halves", "windows")))

    def load(self) -> LoadedDirections:
        """Load all directions: into memory where they fit into `memory_gb`, else they stay on disk."""
        if self._loaded is None:
            mapped = self.map()
            if 4e-9 * self.parameters * sum(len(rows) for rows in mapped) > self.memory_gb:
                self._loaded = mapped
                return mapped
            arrays = [self.load_clip(number) for number in range(len(self.clips))]
            halves = torch.cat([torch.from_numpy(part["halves"]) for part in arrays])
            for part in arrays:
                del part["halves"]  # gigabytes
            self._loaded = LoadedDirections(halves, torch.cat([torch.from_numpy(part["windows"]) for part in arrays]))
        return self._loaded

    def release(self) -> None:
        """Give the memory back."""
        self._loaded = None

    def average_halves(self, number: int) -> torch.Tensor:
        """One stored clip's direction over both halves, [P]; the last one stays in memory."""
        if self._average is None or self._average[0] != number:
            self._average = number, torch.from_numpy(self.load_clip(number)["halves"]).mean(0)
        return self._average[1]

    def read_seconds(self) -> float:
        """Seconds that the directions took."""
        return sum(self.cache.read_seconds(self._name_entry(number)) for number in range(len(self.clips)))

    def _name_entry(self, number: int, half: int | None = None) -> Entry:
        return Entry("direction", self.key, number, "" if half is None else f"half-{half}")

    def _compute_by_half(self, missing: Sequence[int], workers: int) -> None:
        pieces = [(number, half) for number in missing for half in range(HALVES)]
        run_jobs("directions, halves", range(len(pieces)), lambda k: self._cache_half(*pieces[k]), workers, self.cache)
        for number in missing:
            entries = [self._name_entry(number, half) for half in range(HALVES)]
            self.load_clip(number)
            spent = sum(self.cache.read_seconds(entry) for entry in entries)
            self.cache.note_seconds(self._name_entry(number), spent)
            for entry in entries:
                self.cache.drop(entry)

    def _cache_half(self, number: int, half: int) -> None:
        """Compute one half of a clip's draws; it is cached until the other is there."""
        compute_half, (kind, clip) = self.rule.compute_half, self.clips[number]
        if compute_half is None:
            raise ValueError("this rule does not compute halves apart")
        shown = kind == "shown"
        self.cache.ensure(self._name_entry(number, half), lambda: {"part": compute_half(clip, shown, half).numpy()})

    def _read_halves(self, number: int) -> list[torch.Tensor] | None:
        """Both halves that `_cache_half` wrote, if they are there."""
        entries = [self._name_entry(number, half) for half in range(HALVES)]
        if not all(self.cache.has(entry) for entry in entries):
            return None
        return [torch.from_numpy(self.cache.read(entry)["part"]) for entry in entries]

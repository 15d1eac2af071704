"""Directions in weight space of all clips, and what is kept of every track's gradients.

Directions of a clip are computed once and kept on disk; loaded together they are the largest thing in memory, so a pass
holds each set once, whatever many methods look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.gradients.per_item import Kind
from precompute.model.diffusion import Items

HALVES = 2  # independent halves of a clip's draws
CHUNK = 1 << 18  # parameters a partial sum: fp32 products, fp64 totals


class Mapped:
    """Rows [Q, P] that lie on disk, read by runs of columns, so that they never need to be in memory together."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.parts = [part for part in parts if len(part)]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: Any) -> Any:
        """[:, a:b] -> a tensor; [a:b] -> fewer rows, still on disk; [i] -> one row, a tensor."""
        if isinstance(index, int):
            if not 0 <= index < len(self):
                raise IndexError(index)  # ends a loop over the rows
            return self[index : index + 1][:, :][0]
        if isinstance(index, tuple):
            pieces = [torch.from_numpy(np.array(part[index])) for part in self.parts]
            return torch.cat(pieces) if pieces else torch.zeros(0, len(range(*index[1].indices(1 << 62))))
        wanted, start = range(*index.indices(len(self))), 0
        found = []
        for part in self.parts:
            found.append(part[max(0, wanted.start - start) : max(0, wanted.stop - start)])
            start += len(part)
        return Mapped(found)


def dot(rows: torch.Tensor, directions: torch.Tensor | Mapped) -> torch.Tensor:
    """[R, P] x [Q, P] -> [R, Q] float64: fp32 products of short runs, fp64 totals."""
    return dots([rows], directions)[0]


def dots(tracks: Sequence[torch.Tensor], directions: torch.Tensor | Mapped) -> list[torch.Tensor]:
    """The same for the rows of several tracks, each run of the directions being read once for all."""
    totals = [torch.zeros(len(rows), len(directions), dtype=torch.float64) for rows in tracks]
    if len(directions):
        for start in range(0, tracks[0].shape[1], CHUNK):
            run = directions[:, start : start + CHUNK].T
            for total, rows in zip(totals, tracks, strict=True):
                total += (rows[:, start : start + CHUNK] @ run).double()
    return totals


class Directions:
    """The directions of all clips by one step, in the order shown, targets, cohort; computed when first needed."""

    def __init__(
        self,
        queries: Any,
        compute: Callable[[Items, bool], torch.Tensor],
        device: torch.device,
        parameters: int,
        cache: Cache,
        key: str,
        prepare: Callable[[], object] | None = None,
        by_half: Callable[[Items, bool, int], torch.Tensor] | None = None,
    ) -> None:
        """`compute`: a clip and whether to cut it into windows -> [HALVES, W, P]; `queries`: of the kind in `base`.

        `prepare` makes what all clips share, before workers are forked: else each of them would make its own.
        `by_half`: as `compute`, for one half of the clip's draws, the other being zero; None where it needs the other.
        """
        self.prepare, self.by_half = prepare, by_half
        self.compute, self.device, self.parameters, self.cache, self.key = compute, device, parameters, cache, key
        self.jobs: list[tuple[str, Items]] = []
        for kind in ("shown", "targets", "cohort"):
            items: Items = getattr(queries, kind)
            self.jobs += [(kind, items[[row]]) for row in range(len(items))]
        self.cohort = len(queries.cohort)
        self.memory_gb = float("inf")  # above it, directions stay on disk
        self._loaded: tuple[Any, Any] | None = None
        self._stack: torch.Tensor | None = None
        self._whole: tuple[int, torch.Tensor] | None = None

    def kept(self, number: int) -> Arrays:
        """Of one clip: `halves` [HALVES, P] (not the cohort's), `windows` [W, P] of both halves (not targets')."""

        def compute() -> Arrays:
            kind, clip = self.jobs[number]
            halves = self._halves(number)
            found = self.compute(clip, kind == "shown") if halves is None else sum(halves)  # [HALVES, W, P]
            none = found[:0, 0]
            by_half = none if kind == "cohort" else found.sum(1)
            by_window = none if kind == "targets" else found.mean(0)
            return {"halves": by_half.numpy(), "windows": by_window.numpy()}

        return self.cache.get(Entry("direction", self.key, number), compute)

    def ensure(self) -> None:
        """Compute those that are missing, by forked workers where that pays."""
        missing = [n for n in range(len(self.jobs)) if not self.cache.has(Entry("direction", self.key, n))]
        if missing and self.prepare is not None:
            self.prepare()
        workers = count_workers(self.device, self.parameters)
        if self.by_half is not None and 0 < HALVES * len(missing) <= workers:  # one clip would keep one worker busy
            pieces = [(number, half) for number in missing for half in range(HALVES)]
            run_jobs("directions, halves", range(len(pieces)), lambda k: self._half(*pieces[k]), workers, self.cache)
            for number in missing:
                pieces_of = [self._piece(number, half) for half in range(HALVES)]
                self.kept(number)
                spent = sum(self.cache.read_seconds(piece) for piece in pieces_of)
                self.cache.note_seconds(Entry("direction", self.key, number), spent)
                for piece in pieces_of:
                    self.cache.drop(piece)
            return
        run_jobs("directions", missing, self.kept, workers, self.cache)

    def _piece(self, number: int, half: int) -> Entry:
        return Entry("direction", self.key, number, f"half-{half}")

    def _half(self, number: int, half: int) -> None:
        """One half of a clip's draws, kept until the other is there."""
        assert self.by_half is not None
        by_half, (kind, clip) = self.by_half, self.jobs[number]
        compute = lambda: {"part": by_half(clip, kind == "shown", half).numpy()}  # noqa: E731
        self.cache.ensure(self._piece(number, half), compute)

    def _halves(self, number: int) -> list[torch.Tensor] | None:
        """The halves that `_half` kept, if all are there."""
        pieces = [self._piece(number, half) for half in range(HALVES)]
        if not all(self.cache.has(piece) for piece in pieces):
            return None
        return [torch.from_numpy(self.cache.read(piece)["part"]) for piece in pieces]

    def map(self) -> tuple[Mapped, Mapped]:
        """As `load`, on disk."""
        self.ensure()
        arrays = [self.cache.map(Entry("direction", self.key, number)) for number in range(len(self.jobs))]
        return Mapped([part["halves"] for part in arrays]), Mapped([part["windows"] for part in arrays])

    def load(self) -> tuple[Any, Any]:
        """Whole clips by half, [(shown + targets) x HALVES, P]; then shown clips by window and the cohort's clips, over
        both halves, [all windows + K, P]. Tensors where they fit into `memory_gb`, else `Mapped`."""
        if self._loaded is None:
            mapped = self.map()
            if 4e-9 * self.parameters * sum(len(part) for part in mapped) > self.memory_gb:
                self._loaded = mapped
                return mapped
            arrays = [self.kept(number) for number in range(len(self.jobs))]
            halves = torch.cat([torch.from_numpy(part["halves"]) for part in arrays])
            for part in arrays:
                del part["halves"]  # gigabytes
            self._loaded = halves, torch.cat([torch.from_numpy(part["windows"]) for part in arrays])
        return self._loaded

    def stack(self) -> torch.Tensor:
        """All stored clips over both halves, [shown + targets, P]; held until released."""
        if self._stack is None:
            count = len(self.jobs) - self.cohort
            self._stack = torch.stack([torch.from_numpy(self.kept(n)["halves"]).mean(0) for n in range(count)])
        return self._stack

    def release(self) -> None:
        """Give the memory back."""
        self._loaded = self._stack = None

    def whole(self, number: int) -> torch.Tensor:
        """One stored clip's direction over both halves, [P]; the last one is held."""
        if self._whole is None or self._whole[0] != number:
            self._whole = number, torch.from_numpy(self.kept(number)["halves"]).mean(0)
        return self._whole[1]

    def seconds(self) -> float:
        """What they took."""
        return sum(self.cache.read_seconds(Entry("direction", self.key, number)) for number in range(len(self.jobs)))


class Tap:
    """What is kept of every track's gradients. Two methods that ask for the same tap share it."""

    def __init__(self, stage: str, key: str, kind: Kind, parameters: int) -> None:
        """`stage` and `key`: its names in the cache, by all that it depends on; `parameters`: P."""
        self.stage, self.key, self.kind, self.parameters = stage, key, kind, parameters

    def prepare(self) -> None:
        """Load what `take` needs; called before the first track that is missing."""

    def take(self, rows: torch.Tensor, losses: torch.Tensor) -> Arrays:
        """From a track's gradients [R x S, P] and losses [R x S]: arrays of one track."""
        raise NotImplementedError

    @property
    def shares_reading(self) -> bool:
        """Whether several tracks at once cost less: directions are then read from disk for all of them."""
        return False

    def take_all(self, seen: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[Arrays]:
        """`take` for several tracks whose gradients are in memory."""
        return [self.take(*track) for track in seen]

    def release(self) -> None:
        """Give memory back."""

    def seconds(self, cache: Cache) -> float:
        """What the clips' side took."""
        return 0.0


class StepTap(Tap):
    """Products of every cell with whole clips, and of their mean with windows and cohort."""

    def __init__(self, directions: Directions, kind: Kind, key: str) -> None:
        super().__init__("scores", key, kind, directions.parameters)
        self.directions = directions

    def prepare(self) -> None:
        self.directions.load()

    @property
    def shares_reading(self) -> bool:
        return isinstance(self.directions.load()[0], Mapped)

    def take(self, rows: torch.Tensor, losses: torch.Tensor) -> Arrays:
        return self.take_all([(rows, losses)])[0]

    def take_all(self, seen: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[Arrays]:
        detailed, summed = self.directions.load()
        cells = dots([rows for rows, _ in seen], detailed)
        sums = dots([rows.mean(0, keepdim=True) for rows, _ in seen], summed)
        return [{"cells": c.numpy(), "sums": s[0].numpy()} for c, s in zip(cells, sums, strict=True)]

    def release(self) -> None:
        self.directions.release()

    def seconds(self, cache: Cache) -> float:
        return self.directions.seconds()

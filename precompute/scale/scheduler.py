"""Hands shards to workers until all are done: each once, what a lost worker had is done again. Knows no engine.

A `Pool` is where workers come from: processes of this machine, or actors of a cluster. Time is in seconds.
"""

from __future__ import annotations

import errno
import time
import traceback
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from precompute.common.progress import format_duration
from precompute.errors import UserError
from precompute.scale.shards import Shard

READY, DONE, FAILED, LOST = "ready", "done", "failed", "lost"
TICK_S = 1.0


@dataclass(frozen=True)
class Event:
    """What a worker told, or what became of it."""

    worker: int
    kind: str  # READY, DONE, FAILED (told an error), LOST (ended without a word)
    text: str = ""  # READY: which process; FAILED: the error; LOST: how
    cause: str = ""  # FAILED: "user", "disk" or "other"


def told(error: BaseException) -> tuple[str, str]:
    """(cause, text) of an error in a worker, for an `Event`."""
    if isinstance(error, UserError):
        return "user", str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk", str(error.filename or "")
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "other", f"failed ({type(error).__name__}: {error}; {Path(last.filename).name}, line {last.lineno})"


class Worker(Protocol):
    """What computes, in a process of its own."""

    def compute(self, shard: Shard) -> None: ...


class Pool(Protocol):
    """Workers by number. Each loads what it needs once and says READY; then it takes one shard at a time."""

    def start(self, worker: int) -> None: ...
    def give(self, worker: int, shard: Shard) -> None: ...
    def wait(self, seconds: float) -> list[Event]: ...
    def stop(self, worker: int) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Limits:
    """What is put up with."""

    timeout_s: float = 3600.0  # a shard, or a worker's loading
    retries: int = 2  # of a shard, and of a worker that ends before it is ready


class Report:
    """Progress: tracks a second, time left, cost. Printed at most every five seconds."""

    def __init__(self, tracks: int, workers: int, cost_per_hour: float) -> None:
        self.tracks, self.workers, self.cost_per_hour = tracks, workers, cost_per_hour
        self.done, self.began, self.shown = 0, time.monotonic(), time.monotonic()

    def add(self, tracks: int) -> None:
        self.done += tracks
        if time.monotonic() - self.shown >= 5 or self.done >= self.tracks:
            self.shown = time.monotonic()
            print(f"  {self.line(time.monotonic() - self.began)}", flush=True)

    def line(self, seconds: float) -> str:
        rate = self.done / max(seconds, 1e-9)
        left = (self.tracks - self.done) / max(rate, 1e-9)
        text = f"tracks: {self.done} of {self.tracks}, {rate:.3g} a second by {self.workers}"
        text += f", {format_duration(left)} left"
        if self.cost_per_hour:
            now, whole = (s / 3600 * self.cost_per_hour for s in (seconds, seconds + left))
            text += f", cost {now:.2f} so far, {whole:.2f} in all"
        return text


def schedule(shards: Sequence[Shard], pool: Pool, workers: int, limits: Limits, report: Report) -> None:
    """Do all the shards. Raises UserError, or OSError where a disk is full; finished shards are kept whatever."""
    run = _Schedule(shards, pool, limits, report)
    try:
        for worker in range(min(workers, len(shards))):
            run.begin(worker)
        while run.left:
            for event in pool.wait(TICK_S):
                run.take(event)
            run.watch()
            run.hand_out()
    finally:
        pool.close()


class _Schedule:
    def __init__(self, shards: Sequence[Shard], pool: Pool, limits: Limits, report: Report) -> None:
        self.pool, self.limits, self.report = pool, limits, report
        self.waiting = deque(shards)
        self.left = len(shards)
        self.idle: list[int] = []
        self.busy: dict[int, Shard | None] = {}  # None: loading
        self.since: dict[int, float] = {}
        self.failures: Counter[str] = Counter()

    def begin(self, worker: int) -> None:
        self.busy[worker], self.since[worker] = None, time.monotonic()
        self.pool.start(worker)

    def hand_out(self) -> None:
        while self.idle and self.waiting:
            worker, shard = self.idle.pop(0), self.waiting.popleft()
            self.busy[worker], self.since[worker] = shard, time.monotonic()
            self.pool.give(worker, shard)

    def take(self, event: Event) -> None:
        if event.worker not in self.busy:
            return
        shard = self.busy[event.worker]
        if event.kind == READY:
            seconds = format_duration(time.monotonic() - self.since[event.worker])
            print(f"  worker {event.worker}: {event.text}, ready in {seconds}", flush=True)
        elif event.kind == DONE and shard is not None:
            self.left -= 1
            self.report.add(len(shard.track_ids))
        elif event.kind == FAILED and event.cause == "user":
            raise UserError(event.text)
        elif event.kind == FAILED and event.cause == "disk":
            raise OSError(errno.ENOSPC, "No space left on device", event.text)
        else:
            self.lost(event.worker, event.text)
            return
        del self.busy[event.worker]
        self.idle.append(event.worker)

    def lost(self, worker: int, how: str) -> None:
        """Its shard goes to another; a new worker takes its place."""
        shard = self.busy.pop(worker)
        name, what = (shard.name, f"at {shard}") if shard else ("", "while loading")
        self.failures[name] += 1
        if self.failures[name] > self.limits.retries:
            again = "what is finished is kept: mend it and run the same command again to go on"
            raise UserError(f"worker {worker} {how} {what}, {self.failures[name]} times now; {again}")
        tries = f"try {self.failures[name] + 1} of {self.limits.retries + 1}"
        print(f"  worker {worker} {how} {what}; a new one does it again ({tries})", flush=True)
        if shard is not None:
            self.waiting.appendleft(shard)
        self.begin(worker)

    def watch(self) -> None:
        """End workers that take too long."""
        now = time.monotonic()
        for worker in [w for w in self.busy if now - self.since[w] > self.limits.timeout_s]:
            self.pool.stop(worker)
            self.lost(worker, f"took longer than {format_duration(self.limits.timeout_s)}")

"""Hands numbered jobs to workers until all are done: each once, and again where a worker was lost. Knows no engine.

A `Pool` is where workers come from: forked processes of this machine (`parallel`), or actors of Ray (`scale/ray_pool`).
A job keeps its own result, in a file. Times are in seconds.
"""

from __future__ import annotations

import errno
import math
import pickle
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from precompute.common.progress import format_duration
from precompute.errors import UserError

READY, DONE, FAILED, LOST = "ready", "done", "failed", "lost"
TICK_S = 1.0


@dataclass(frozen=True)
class Event:
    """A worker's message, or its end."""

    worker: int
    kind: str  # READY: waits for a job; DONE: its job is done; FAILED: it raised; LOST: it ended without a message
    text: str = ""  # of FAILED and LOST: what happened, as words that follow "worker 3"
    error: BaseException | None = None  # of FAILED


class Pool(Protocol):
    """Workers by number. Each prepares itself once and is READY; then it takes one job at a time."""

    def start(self, worker: int) -> None:
        """Start a worker, in place of the one of that number where there is one."""

    def give(self, worker: int, job: int) -> None:
        """Hand a job to a worker that waits."""

    def wait(self, seconds: float) -> list[Event]:
        """Return events as soon as there are some; none after so many seconds."""

    def stop(self, worker: int) -> None:
        """End a worker at once, whatever it does."""

    def close(self) -> None:
        """End all workers."""


@dataclass(frozen=True)
class Limits:
    """Timeouts and retry limits."""

    timeout_s: float = math.inf  # of a job, and of a worker until it is ready
    retries: int = 0  # of a job, and of workers that end before they are ready; 0: the first error is raised as it is


@dataclass(frozen=True)
class JobList:
    """Numbered jobs and what they are called in messages."""

    what: str  # all of them: "pass"
    numbers: Sequence[int]
    describe: Callable[[int], str] = "job {}".format


def schedule(jobs: JobList, pool: Pool, workers: int, limits: Limits, done: Callable[[int], None]) -> None:
    """Do all jobs and close the pool; `done` is called with the number of each job that is done.

    Raises what a job raised where that is a UserError, a full disk, or there are no retries; UserError where a job or
    the start of workers failed more often than the limits allow. Jobs that are done stay done.
    """
    run = _Schedule(jobs, pool, limits, done)
    try:
        for worker in range(min(workers, len(jobs.numbers))):
            run.start(worker)
        while run.left:
            for event in pool.wait(TICK_S):
                run.handle(event)
            run.stop_late_workers()
            run.hand_out()
    finally:
        pool.close()


class _Schedule:
    def __init__(self, jobs: JobList, pool: Pool, limits: Limits, done: Callable[[int], None]) -> None:
        self.jobs, self.pool, self.limits, self.done = jobs, pool, limits, done
        self.waiting = deque(jobs.numbers)
        self.left = len(jobs.numbers)
        self.idle: list[int] = []
        self.busy: dict[int, int | None] = {}  # worker -> job; None: not ready yet
        self.since: dict[int, float] = {}  # worker -> when it was given that
        self.failures: Counter[int | None] = Counter()

    def start(self, worker: int) -> None:
        self.busy[worker], self.since[worker] = None, time.monotonic()
        self.pool.start(worker)

    def hand_out(self) -> None:
        while self.idle and self.waiting:
            worker, job = self.idle.pop(0), self.waiting.popleft()
            self.busy[worker], self.since[worker] = job, time.monotonic()
            self.pool.give(worker, job)

    def handle(self, event: Event) -> None:
        if event.worker in self.idle:  # it ended while it had nothing to do
            self.idle.remove(event.worker)
            self.start(event.worker)
            return
        if event.worker not in self.busy:
            return
        if event.kind in (FAILED, LOST):
            if event.error is not None and (self.limits.retries == 0 or _is_final(event.error)):
                raise event.error
            self.retry(event.worker, event.text)
            return
        job = self.busy.pop(event.worker)
        self.idle.append(event.worker)
        if job is not None:
            self.left -= 1
            self.done(job)

    def retry(self, worker: int, how: str) -> None:
        """A new worker takes a lost one's place; its job is done again."""
        job = self.busy.pop(worker)
        self.failures[job] += 1
        what = "while it was loading" if job is None else f"at {self.jobs.describe(job)}"
        if self.failures[job] > self.limits.retries:
            times = f", {self.failures[job]} times now" if self.limits.retries else ""
            raise UserError(
                f"{self.jobs.what}: worker {worker} {how} {what}{times}; what is finished is kept: run the same command"
                " again to go on"
            )
        tries = f"try {self.failures[job] + 1} of {self.limits.retries + 1}"
        print(f"  worker {worker} {how} {what}; a new one does it again ({tries})", flush=True)
        if job is not None:
            self.waiting.appendleft(job)
        self.start(worker)

    def stop_late_workers(self) -> None:
        now = time.monotonic()
        for worker in [w for w in self.busy if now - self.since[w] > self.limits.timeout_s]:
            self.pool.stop(worker)
            self.retry(worker, f"took longer than {format_duration(self.limits.timeout_s)}")


def _is_final(error: BaseException) -> bool:
    """True where another try would end alike: the user's mistake, or a full disk."""
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.errno == errno.ENOSPC)


def attempt(kind: str, work: Callable[[], object]) -> tuple[str, str, BaseException | None]:
    """Do something in a worker; kind (the given one where it went well), text and error of the event that tells so."""
    try:
        work()
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"failed ({type(error).__name__}: {error}; {Path(last.filename).name}, line {last.lineno})"
        return FAILED, text, _make_picklable(error)
    return kind, "", None


def _make_picklable(error: BaseException) -> BaseException:
    """The error, or its words where it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

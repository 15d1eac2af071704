"""Jobs shared by forked processes, which divide the threads among them: a small matrix keeps one busy, not several.

Forked workers see the parent's tensors without a copy; torch's own data loaders do the same. For Linux and models on
the CPU: a process that uses a GPU cannot be forked. Timeouts and retries are `scheduler.Limits`, which
`pass --timeout --retries` sets; `run_jobs` has neither.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from precompute.common.cache import Cache
from precompute.common.progress import Progress, progress
from precompute.common.scheduler import DONE, LOST, READY, Event, JobList, Limits, attempt, schedule

MAX_WORKERS = 8  # each holds the gradients of one track
PARAMETERS = 1_000_000, 50_000_000  # below, a fork costs more than it saves; above, threads share a matrix well


def can_fork(device: torch.device) -> bool:
    """True where work with a model on this device can be shared by forked processes."""
    return device.type == "cpu" and sys.platform == "linux"


def count_workers(device: torch.device, parameters: int) -> int:
    """Return the number of workers that suits a model of so many parameters; 1 = none beside this process."""
    suits = can_fork(device) and PARAMETERS[0] <= parameters <= PARAMETERS[1]
    return min(torch.get_num_threads(), MAX_WORKERS) if suits else 1


def run_jobs(
    what: str, jobs: Sequence[int], job: Callable[[int], object], workers: int, cache: Cache | None = None
) -> None:
    """Do `job` for each number, with progress under the name `what`; a job keeps its own result, in `cache`.

    Where jobs are fewer than workers, each gets the threads of several. Raises what a job raises, and UserError where a
    worker was killed; the others are ended then.
    """
    if not jobs:
        return
    if min(workers, len(jobs)) < 2:
        for number in progress(what, jobs):
            job(number)
        return
    count = min(workers, len(jobs))
    pool = ForkedPool(job, workers // count, count, cache)
    with Progress(what, len(jobs)) as shown:
        schedule(JobList(what, jobs), pool, count, Limits(), lambda _: shown.advance())


class ForkedPool:
    """A `scheduler.Pool` of processes that are forked from this one, a pipe to each.

    A worker whose parent is gone reads the end of its pipe, when its job is done, and ends.
    """

    def __init__(self, job: Callable[[int], object], threads: int, side_by_side: int, cache: Cache | None) -> None:
        """`job` runs in the workers, `side_by_side` of them with so many threads each; seconds are noted in `cache`."""
        self.job, self.threads, self.side_by_side, self.cache = job, threads, side_by_side, cache
        self.context = multiprocessing.get_context("fork")
        self.processes: dict[int, BaseProcess] = {}
        self.pipes: dict[int, Connection] = {}

    def start(self, worker: int) -> None:
        """Fork a worker, in place of the one of that number where there is one."""
        self.stop(worker)
        ours, theirs = self.context.Pipe()
        inherited = [ours, *self.pipes.values()]  # the worker closes its copies: else no other reads the end of a pipe
        process = self.context.Process(target=self._serve, args=(theirs, inherited), daemon=True)
        process.start()
        theirs.close()
        self.processes[worker], self.pipes[worker] = process, ours

    def give(self, worker: int, job: int) -> None:
        """Hand a job to a worker that waits."""
        with suppress(OSError):  # it has ended: `wait` tells so
            self.pipes[worker].send(job)

    def wait(self, seconds: float) -> list[Event]:
        """Return events as soon as there are some; none after so many seconds."""
        ready, events = wait(list(self.pipes.values()), seconds), []
        for worker, pipe in [(w, p) for w, p in self.pipes.items() if p in ready]:
            try:
                events.append(Event(worker, *pipe.recv()))
            except (EOFError, OSError):
                events.append(Event(worker, LOST, self._reap(worker)))
        return events

    def _reap(self, worker: int) -> str:
        """Forget an ended worker; how it ended, in words."""
        self.pipes.pop(worker).close()
        process = self.processes.pop(worker)
        process.join()
        code = process.exitcode or 0
        how = f"was killed (signal {-code}), perhaps for lack of memory," if code < 0 else f"ended (code {code})"
        return f"[process {process.pid}] {how}"

    def stop(self, worker: int) -> None:
        """Kill a worker."""
        if worker in self.processes:
            self.pipes.pop(worker).close()
            process = self.processes.pop(worker)
            process.kill()
            process.join()

    def close(self) -> None:
        """Kill all workers."""
        for worker in list(self.processes):
            self.stop(worker)

    def _serve(self, pipe: Connection, inherited: Iterable[Connection]) -> None:
        """A worker's whole life."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
        for other in inherited:
            other.close()
        torch.set_num_threads(self.threads)
        if self.cache is not None:
            self.cache.processes = self.side_by_side
        with suppress(EOFError, OSError):  # the parent is gone
            pipe.send((READY, "", None))
            while True:
                pipe.send(attempt(DONE, partial(self.job, pipe.recv())))

"""Jobs shared by processes of one thread each: small matrices keep one thread busy, and several not.

Workers are forked, so that they see the parent's tensors without a copy; torch's own data loaders do the same. Linux
and CPU alone.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait

import torch

from precompute.common import cache
from precompute.common.progress import progress
from precompute.errors import UserError

MOST = 8  # each holds the gradients of one track
PARAMETERS = 1_000_000, 50_000_000  # below, a fork costs more than it saves; above, threads share a matrix well


def count_for(device: torch.device, parameters: int) -> int:
    """How many workers suit a model of so many parameters; 1 = none beside this process."""
    suits = device.type == "cpu" and sys.platform == "linux" and PARAMETERS[0] <= parameters <= PARAMETERS[1]
    return min(torch.get_num_threads(), MOST) if suits else 1


def run_jobs(what: str, jobs: Sequence[int], job: Callable[[int], None], workers: int) -> None:
    """Do `job` for each number, with progress under the name `what`; a job keeps its own result, in a file.

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
    context, parent = multiprocessing.get_context("fork"), os.getpid()
    outcomes = context.SimpleQueue()

    def work(share: Sequence[int]) -> None:
        torch.set_num_threads(workers // count)
        cache.share = count
        try:
            for number in share:
                if os.getppid() != parent:
                    return  # killed: nobody waits for the rest
                job(number)
                outcomes.put(None)
        except BaseException as error:
            outcomes.put(error)

    processes = [context.Process(target=work, args=(jobs[k::count],), daemon=True) for k in range(count)]
    try:
        for process in processes:
            process.start()
        for _ in progress(what, jobs):
            _next_outcome(outcomes, processes, what)
    finally:
        for process in processes:
            if process.is_alive():
                process.join(timeout=1)
                process.terminate()
            process.join()


def _next_outcome(outcomes: multiprocessing.SimpleQueue, processes: list, what: str) -> None:
    """Wait until one more job is done."""
    running = [process for process in processes if process.exitcode != 0]
    while outcomes.empty():
        wait([outcomes._reader, *(process.sentinel for process in running)])
        failed = [process for process in running if process.exitcode]
        if failed and outcomes.empty():
            raise UserError(
                f"{what}: worker {failed[0].pid} was killed (signal {-failed[0].exitcode}), perhaps for want of memory;"
                " what is finished is kept: run the same command again to go on"
            )
        running = [process for process in running if process.exitcode is None]
    error = outcomes.get()
    if error is not None:
        raise error

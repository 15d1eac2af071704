"""Jobs for tests of scheduler and pool: real processes, cheap results that follow from the job's number alone.

As a script, `shard_jobs.py FOLDER WORKERS`: does all jobs, to be killed.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import ForkedPool
from precompute.common.scheduler import JobList, Limits, schedule
from precompute.gradients.track_pass import cut_shards

TRACKS, SIZE = 30, 4
SHARDS = cut_shards(TRACKS, SIZE)
JOBS = range(len(SHARDS))


def entry(number: int) -> Entry:
    return Entry("shard", "key", number)


def results(number: int) -> Arrays:
    rows = np.array(SHARDS[number], dtype=np.float64)
    cells = np.sin(rows[:, None, None] + np.arange(6).reshape(2, 3))
    return {"cells": cells, "small": cells[:, 0].astype(np.float32), "none": np.empty((len(rows), 0))}


@dataclass
class ShardJobs:
    """Writes `results` into the cache; leaves a file for each time that it did, and one that names its process."""

    folder: Path
    pause_s: float = 0.0
    stall: int = -1  # number of a job that is not finished the first time
    fail: int = -1  # number of a job that raises

    def compute(self, number: int) -> None:
        (self.folder / f"pid-{os.getpid()}").touch()
        time.sleep(self.pause_s)
        if number == self.fail:
            raise RuntimeError("no such thing")
        marker = self.folder / "stalled"
        if number == self.stall and not marker.exists():
            marker.write_text(str(os.getpid()))
            time.sleep(600)
        count = len(list(self.folder.glob(f"did-{number}-*")))
        (self.folder / f"did-{number}-{count}").touch()
        Cache(self.folder).put(entry(number), results(number), 1.0)


def drive(folder: Path, workers: int, timeout_s: float = 60.0, **options) -> None:
    """Do all jobs whose results are missing, by forked processes."""
    cache = Cache(folder)
    for number in JOBS:
        cache.drop_damaged(entry(number))
    jobs = JobList("pass", [n for n in JOBS if not cache.has(entry(n))], "shard {}".format)
    pool = ForkedPool(ShardJobs(folder, **options).compute, 1, workers, cache)
    schedule(jobs, pool, workers, Limits(timeout_s, retries=2), lambda number: print(f"done {number}", flush=True))


if __name__ == "__main__":
    drive(Path(sys.argv[1]), int(sys.argv[2]), pause_s=0.3)

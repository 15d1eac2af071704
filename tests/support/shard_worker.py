"""A worker for tests of the pass's core: real processes, cheap results that follow from the shard alone.

As a script, `shard_worker.py FOLDER WORKERS`: a driver that does all shards, to be killed.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from precompute.scale import shards
from precompute.scale.shards import Shard, TapResult

TRACKS, SIZE = 30, 4


def cut(key: str = "key") -> list[Shard]:
    return shards.cut(key, range(100, 100 + TRACKS), [f"track {i}" for i in range(TRACKS)], SIZE)


def results(shard: Shard) -> dict[str, TapResult]:
    rows = np.array(shard.rows, dtype=np.float64)
    cells = np.sin(rows[:, None, None] + np.arange(6).reshape(2, 3))
    arrays = {"cells": cells, "small": cells[:, 0].astype(np.float32), "none": np.empty((len(rows), 0))}
    return {"t0": TapResult(arrays, 1.0, 2.0), "t1": TapResult({"sums": rows[:, None]}, 0.5, 0.25)}


@dataclass
class Made:
    """Computes `results`; leaves a file for each time it did, and one that tells its process."""

    folder: Path
    number: int
    pause_s: float = 0.0
    stall: str = ""  # name of a shard that is not finished the first time
    fail: str = ""  # name of a shard that raises

    def __post_init__(self) -> None:
        (self.folder / f"pid-{os.getpid()}").touch()

    def compute(self, shard: Shard) -> None:
        time.sleep(self.pause_s)
        if shard.name == self.fail:
            raise RuntimeError("no such thing")
        marker = self.folder / "stalled"
        if shard.name == self.stall and not marker.exists():
            marker.write_text(str(os.getpid()))
            time.sleep(600)
        count = len(list(self.folder.glob(f"did-{shard.name}-*")))
        (self.folder / f"did-{shard.name}-{count}").touch()
        shards.write(self.folder, shard, results(shard))


def make(folder: Path, number: int, **options) -> Made:
    return Made(folder, number, **options)


def drive(folder: Path, workers: int, **options) -> None:
    """All that is missing, by processes of this machine."""
    from precompute.scale.local_pool import LocalPool
    from precompute.scale.scheduler import Limits, Report, schedule

    limits = Limits(options.pop("timeout_s", 60.0), options.pop("retries", 2))
    missing = [shard for shard in cut() if not shards.is_finished(folder, shard)]
    schedule(missing, LocalPool(partial(make, folder, **options)), workers, limits, Report(TRACKS, workers, 3.0))


if __name__ == "__main__":
    drive(Path(sys.argv[1]), int(sys.argv[2]), pause_s=0.3)

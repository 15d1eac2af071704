"""The verb `pass`: prepare, hand out what is missing, hand over to the run's cache. One driver at a time.

Under torchrun or SLURM (RANK and WORLD_SIZE in the environment) the ranks share the shards among themselves.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from precompute.common.progress import format_duration
from precompute.config.run import RunConfig
from precompute.scale.manifest import alone
from precompute.scale.scheduler import Limits, Pool, Report, schedule
from precompute.scale.work import Work, worker


def run_pass(config: RunConfig, options: argparse.Namespace) -> None:
    """Ends with every track's results in the run's cache, or raises UserError or OSError with all finished kept."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ:
        from precompute.scale.ranks import by_ranks

        by_ranks(config, options.cost_per_hour)
        return
    if options.launcher == "ray":
        from precompute.scale.ray_pool import require

        require()
    began = time.monotonic()
    with alone(Path(config.output.work) / "pass"):
        work = Work.prepare(config)
        missing = start(work)
        if missing is None:
            return
        workers = min(options.workers, len(missing)) or 1
        work.free_model()
        report = Report(sum(len(shard.track_ids) for shard in missing), workers, options.cost_per_hour)
        if missing:
            pool = _pool(config, work.folder, workers, options)
            schedule(missing, pool, workers, Limits(options.timeout, options.retries), report)
        finish(work, time.monotonic() - began)


def start(work: Work) -> list | None:
    """The shards to do, told; None where the run's cache holds everything already."""
    tracks = len(work.context.items)
    if work.is_collected():
        print(f"pass: {tracks} tracks are done already; `precompute run` publishes them", flush=True)
        return None
    missing = work.missing()
    done = len(work.manifest.shards) - len(missing)
    print(f"pass: {tracks} tracks in {len(work.manifest.shards)} shards, {done} of them done before", flush=True)
    return missing


def finish(work: Work, seconds: float) -> None:
    """All shards into the run's cache."""
    work.collect()
    tracks = len(work.context.items)
    took = format_duration(seconds)
    print(f"pass: {tracks} tracks, each once, in {took}; `precompute run` publishes them", flush=True)


def _pool(config: RunConfig, folder: Path, workers: int, options: argparse.Namespace) -> Pool:
    import torch

    threads = max(1, torch.get_num_threads() // workers)
    make = partial(worker, replace(config, text=""), folder.resolve(), threads)
    cards = torch.cuda.device_count() if config.model.device.startswith("cuda") else 0
    if options.launcher == "ray":
        from precompute.scale.ray_pool import RayPool

        return RayPool(make, workers, cards, options.ray_address)
    from precompute.scale.local_pool import LocalPool

    return LocalPool(make)

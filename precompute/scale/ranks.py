"""Under torchrun or a SLURM array: ranks share the shards, shard i to rank i mod world size.

torchrun restarts the whole group when a rank dies; finished shards are then skipped. gloo carries three small messages
and no tensor.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.scale import shards
from precompute.scale.driver import finish, start
from precompute.scale.manifest import alone
from precompute.scale.scheduler import Report
from precompute.scale.work import Work, on_device

PATIENCE = timedelta(days=7)  # of the ranks for the preparation, and for the slowest of them


def by_ranks(config: RunConfig, cost_per_hour: float) -> None:
    """One rank's part; rank 0 prepares before and hands over afterwards."""
    began = time.monotonic()
    if os.environ.get("MASTER_ADDR", "") in ("127.0.0.1", "localhost", "::1"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", timeout=PATIENCE)
    rank, world = dist.get_rank(), dist.get_world_size()
    config = on_device(config, int(os.environ.get("LOCAL_RANK", rank)))
    try:
        if rank:
            folder, missing = _told(None)
            if missing:
                _share(Work.attach(config, Path(folder)), set(missing), rank, world, None)
            dist.barrier()
            return
        with alone(Path(config.output.work) / "pass"):
            try:
                work = Work.prepare(config)
                todo = start(work)
            except BaseException:
                _told(("", None))  # the others end too; this rank says why
                raise
            missing = [shard.name for shard in todo or []]
            _told((str(work.folder), missing))
            if missing:
                for tap in work.taps.values():
                    tap.prepare()
                own = sum(len(s.track_ids) for s in todo or [])
                _share(work, set(missing), rank, world, Report(own, world, cost_per_hour))
            dist.barrier()
            if todo is not None:
                finish(work, time.monotonic() - began)
    finally:
        dist.destroy_process_group()


def _told(message: tuple[str, list[str] | None] | None) -> tuple[str, list[str]]:
    """Rank 0's word to all: the folder and the names of missing shards."""
    box = [message]
    dist.broadcast_object_list(box, src=0)
    folder, missing = box[0]  # type: ignore[misc]
    if missing is None and message is None:
        raise UserError("rank 0 could not prepare the pass; its message says why")
    return folder, missing or []


def _share(work: Work, missing: set[str], rank: int, world: int, report: Report | None) -> None:
    wanted = [shard for shard in work.manifest.shards if shard.name in missing]
    for shard in wanted[rank::world]:
        work.compute(shard)
        if report is not None:
            there = [s for s in wanted if shards.path_of(work.folder, s).exists()]
            report.add(sum(len(s.track_ids) for s in there) - report.done)

"""The verb `pass`: prepare, share the missing shards among workers, report. One driver at a time in a work folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from precompute.common.locks import lock_work
from precompute.common.parallel import ForkedPool, can_fork
from precompute.common.progress import Progress, format_duration
from precompute.common.scheduler import JobList, Limits, Pool, schedule
from precompute.config.run import RunConfig
from precompute.errors import UserError
from precompute.gradients.track_pass import TrackPass
from precompute.scale.preparation import Assignment, prepare_pass


@dataclass(frozen=True)
class PassOptions:
    """Options of a pass: its workers, limits and cost."""

    workers: int = 1
    use_ray: bool = False  # actors of Ray in place of processes of this machine
    ray_address: str = ""  # of a running cluster; empty: Ray on this machine alone
    limits: Limits = field(default_factory=Limits)
    cost_per_hour: float = 0.0  # of all machines together, any currency; 0 = not shown


def run_pass(config: RunConfig, options: PassOptions) -> None:
    """Compute what is missing of every track's results; `run` then finds them in its cache.

    Raises UserError, or OSError where a disk is full; finished shards stay.
    """
    if options.use_ray:
        from precompute.scale.ray_pool import require_ray

        require_ray()
    began = time.monotonic()
    with lock_work(Path(config.output.work)):
        track_pass, assignment = prepare_pass(config)
        track_pass.drop_damaged()
        missing = track_pass.find_missing()
        tracks, shards = len(track_pass.tracks), len(track_pass.shards)
        if not missing:
            print(f"pass: {tracks} tracks are done already; `precompute run` publishes them", flush=True)
            return
        print(f"pass: {tracks} tracks in {shards} shards, {shards - len(missing)} of them done before", flush=True)
        _compute(track_pass, missing, assignment, options)
        took = format_duration(time.monotonic() - began)
        print(f"pass: {tracks} tracks, each once, in {took}; `precompute run` publishes them", flush=True)


def _compute(track_pass: TrackPass, missing: list[int], assignment: Assignment, options: PassOptions) -> None:
    """Do the missing shards, by whichever workers were asked for."""
    device, workers = track_pass.model.device, min(options.workers, len(missing))
    threads = max(1, torch.get_num_threads() // workers)
    if not options.use_ray and workers > 1 and not can_fork(device):
        raise UserError(
            f"--workers {options.workers}: processes of one machine share work on Linux and the CPU alone;"
            f" on {device.type} use --launcher ray, or --workers 1"
        )
    ids = [track.track_id for track in assignment.tracks]

    def describe(number: int) -> str:
        rows = track_pass.shards[number]
        return f"shard {number} (tracks {ids[rows.start]} to {ids[rows.stop - 1]})"

    jobs = JobList("pass", missing, describe)
    with track_pass.prepare_taps(missing):  # workers of this machine see what is in memory; those of Ray read the cache
        if not options.use_ray:
            forked = ForkedPool(track_pass.compute, threads, workers, track_pass.cache) if can_fork(device) else None
            _share(jobs, track_pass, forked, workers, options)
            return
    from precompute.scale.ray_pool import RayPool

    cards = 0
    if device.type == "cuda":
        track_pass.model.network.cpu()  # leaves the card to the workers; not used again here
        torch.cuda.empty_cache()
        cards = torch.cuda.device_count()
    actors = RayPool(replace(assignment, threads=threads).open, workers, cards, options.ray_address)
    _share(jobs, track_pass, actors, workers, options)


def _share(jobs: JobList, track_pass: TrackPass, pool: Pool | None, workers: int, options: PassOptions) -> None:
    """Do the jobs, by this process where there is no pool, and show the pace."""
    tracks = sum(len(track_pass.shards[number]) for number in jobs.numbers)
    with Progress("tracks", tracks) as shown:

        def report(number: int) -> None:
            count = len(track_pass.shards[number])
            pace = describe_pace(shown.done + count, tracks, shown.seconds, workers, options.cost_per_hour)
            shown.advance(count, pace)

        if pool is not None:
            schedule(jobs, pool, workers, options.limits, report)
            return
        for number in jobs.numbers:
            track_pass.compute(number)
            report(number)


def describe_pace(done: int, total: int, seconds: float, workers: int, cost_per_hour: float) -> str:
    """'31.9 a second by 4, cost 1.00 so far, 10.00 in all'; the cost where `cost_per_hour` is not 0."""
    text = f"{done / max(seconds, 1e-9):.3g} a second by {workers}"
    if cost_per_hour:
        cost = seconds / 3600 * cost_per_hour
        whole = cost * total / max(done, 1)
        text += f", cost {cost:.2f} so far, {whole:.2f} in all"
    return text

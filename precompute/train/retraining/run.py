"""The verb `retrain`: does the trainings of a bench that are not done yet, and keeps what their models answer.

Trainings are shared by as many processes as suit the machine; one that was killed goes on inside a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from precompute.common.parallel import count_workers, run_jobs
from precompute.common.progress import format_duration
from precompute.common.results import describe_hardware
from precompute.config.run import RunConfig
from precompute.errors import need
from precompute.model.batches import Items
from precompute.train.loop import measure_step_s
from precompute.train.retraining.bench import (
    Bench,
    compare_regenerated,
    forget_training,
    load_clips,
    measure_losses,
    open_bench,
    prepare_training,
    train,
)
from precompute.train.retraining.ledger import Ledger
from precompute.train.retraining.plan import FULL, Training, plan_removals, plan_trainings

REMOVALS = "removals.json"  # in the results' folder: the works that are left out, by training


def retrain(config: RunConfig, most: int = 0, plan_only: bool = False) -> None:
    """Print plan and time, then do the trainings that the ledger does not hold; `most` of them, 0 = all.

    Raises UserError as `open_bench` does, and where the ledger is of another bench.
    """
    need(most >= 0, f"--most {most}: must be 0 (all) or more")
    bench = open_bench(config)
    trainings, ledger = plan_all(bench), open_ledger(bench)
    done = ledger.read()
    missing = [training for training in trainings if training.name not in done]
    chosen = missing[: most or None]
    workers = min(count_workers(bench.base.device, count_trained(bench)), max(1, len(chosen)))
    works = len({track.work_id for track in bench.tracks})
    print(
        f"retrain: {len(bench.tracks)} tracks of {works} works; {count_trained(bench) / 1e6:.2f} million parameters;"
        f" {len(trainings)} trainings, {len(done)} done",
        flush=True,
    )
    if not chosen:
        return
    step_s = time_step(bench, chosen[0], workers)
    left_s = step_s * bench.section.steps * len(chosen) / workers
    print(
        f"  {step_s:.3f} s a step, {format_duration(step_s * bench.section.steps)} a training;"
        f" {len(chosen)} now, {workers} at a time: about {format_duration(left_s)}",
        flush=True,
    )
    if plan_only:
        return
    ledger.begin()
    clips = make_clips(bench, trainings[0], chosen, workers)

    def judge(number: int) -> None:
        training = chosen[number]
        model = train(bench, training)
        answers = measure_losses(bench, model, clips)
        if not training.name.startswith("half"):
            answers |= compare_regenerated(bench, model, clips)
        ledger.add(training.name, answers)
        if training.name != FULL:  # which methods score
            forget_training(bench, training)

    run_jobs("retraining", range(len(chosen)), judge, workers)
    print(f"{ledger.path}: {len(ledger.read())} of {len(trainings)} trainings", flush=True)


def plan_all(bench: Bench) -> list[Training]:
    """The trainings of a bench; those without a clip's first works stand last, once their works are chosen."""
    removals = plan_removals(bench.tracks, bench.section, bench.results / REMOVALS)
    return [*plan_trainings(bench.tracks, bench.section), *removals]


def make_clips(bench: Bench, full: Training, chosen: Sequence[Training], workers: int) -> Items:
    """The clips: read, or made by the full model, beside which the next trainings are begun so that no core waits."""
    if not (bench.results / "clips.npz").exists():
        beside = [full, *(training for training in chosen if training.name != FULL)][:workers]
        run_jobs("first trainings", range(len(beside)), lambda number: train(bench, beside[number]), workers)
        return load_clips(bench, train(bench, full))
    return load_clips(bench)


def time_step(bench: Bench, training: Training, workers: int) -> float:
    """Seconds of a step with the threads that a worker has."""
    model, loss, settings = prepare_training(bench, training)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // workers))
    try:
        return measure_step_s(model.network, loss, settings)
    finally:
        torch.set_num_threads(threads)


def count_trained(bench: Bench) -> int:
    """The parameters of the transformer and the conditioner."""
    network: Any = bench.base.network
    return sum(p.numel() for part in (network.model, network.conditioner) for p in part.parameters())


def open_ledger(bench: Bench) -> Ledger:
    """The ledger of a bench."""
    about = {"settings": asdict(bench.section), "hardware": describe_hardware(str(bench.base.device))}
    return Ledger(bench.results / "losses.jsonl", bench.key, about)

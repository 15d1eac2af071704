"""The verb `plan`: time, memory and disk of a pass. Measured rates where there are any; else projected, and said so.

Every assumption is printed with the number that rests on it. Bytes in powers of ten; times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from precompute.common.progress import format_duration
from precompute.common.results import RESULTS_FOLDER
from precompute.config.run import PassSection
from precompute.cost.rates import CARDS, MEMORY_SHARE, PEAK_SHARE, MeasuredRate, find_rate, read_rates
from precompute.cost.work import (
    EMBEDDED,
    HALVES,
    REAL,
    Pace,
    TransformerSize,
    count_directions,
    count_gradient_operations,
    count_pass,
)
from precompute.errors import need
from precompute.gradients.memory import divide_memory

PAPER_HOURS = 40.0  # GPU-hours per clip over 115,000 tracks: arXiv 2506.18312
EMBEDDED_FRAMES = 375


@dataclass(frozen=True)
class PassPlan:
    """The pass that is to be planned."""

    tracks: int = 115_000
    clips: int = 64
    cohort: int = 48
    gpu: str = "cpu"
    workers: int = 1
    model: str | None = None
    frames: int = 1024  # of the real model
    cells: int = 16
    memory_gb: float = 0.0
    cost_per_hour: float = 0.0

    def __post_init__(self) -> None:
        need(self.gpu in ("cpu", *CARDS), f"--gpu {self.gpu}: choose one of cpu, {', '.join(CARDS)}")
        for name in ("tracks", "clips", "workers", "frames", "cells"):
            need(getattr(self, name) >= 1, f"--{name} {getattr(self, name)}: must be at least 1")
        for name in ("cohort", "memory_gb", "cost_per_hour"):
            option = name.replace("_", "-")
            need(getattr(self, name) >= 0, f"--{option} {getattr(self, name)}: must be 0 or more")

    @property
    def is_low(self) -> bool:
        """True where gradients and directions are held in bf16: on a GPU."""
        return self.gpu != "cpu"

    @property
    def directions(self) -> int:
        """Their number."""
        return count_directions(self.clips, self.cohort)

    @property
    def memory_bytes(self) -> float:
        """For gradients and directions, of one worker."""
        default_gb = CARDS[self.gpu].memory_gb * MEMORY_SHARE if self.is_low else PassSection.memory_gb
        return (self.memory_gb or default_gb) * 1e9


@dataclass(frozen=True)
class MemoryUse:
    """Division of a worker's memory between gradients and directions."""

    by_cell: bool  # directions are held by parts; else read from disk by runs of parameters
    held: int  # gradients at once
    at_once: int  # directions at once
    rounds: int  # how often a gradient is computed


def format_plan(plan: PassPlan, folder: Path = RESULTS_FOLDER) -> str:
    """The answer. Raises UserError where the memory is too small, or nothing is known of the device."""
    rates = read_rates(folder)
    name = plan.model or ("real" if plan.is_low else "embedded")
    rate = find_rate(rates, plan.gpu, name, None if name == "embedded" else plan.frames)
    size, frames = _choose_size(name, rates, plan.frames)
    use = _divide_memory(plan, size)
    pace, grounds = _choose_pace(plan, rate, size, frames, use.held)
    per_track = count_pass(plan.cells, plan.directions, use.rounds).estimate_seconds(pace)
    whole, hours = per_track * plan.tracks / plan.workers, per_track * plan.tracks / 3600
    word = "measured rates" if rate else "projected"
    lines = [
        f"{plan.tracks:,} tracks x {plan.clips} clips, {name} model of {size.parameters / 1e6:,.1f} M parameters,"
        f" {frames} frames",
        f"time: {format_duration(whole)} on {plan.workers} x {plan.gpu} ({word}): {per_track:.3g} s a track",
        f"  {hours:,.1f} {plan.gpu}-hours for all clips; the paper tells {PAPER_HOURS:g} GPU-hours a clip over 115,000"
        " tracks",
    ]
    if plan.cost_per_hour:
        cost = hours * plan.cost_per_hour
        lines.append(f"cost: {cost:,.2f} ({plan.cost_per_hour:g} an hour and worker)")
    lines += [*_describe_memory(plan, size, use), _describe_disk(plan, size, frames), "assumptions:"]
    lines += [f"  {line}" for line in grounds]
    lines.append(
        f"  {plan.cells} cells of the noise bank a track, one draw each; {HALVES} halves a clip, a cohort of"
        f" {plan.cohort}"
    )
    lines.append("  work is spread evenly; preparing latents, clips and directions is not counted")
    if rate is None:
        lines.append(f"  not measured on {plan.gpu}: every time and cost above is projected")
    return "\n".join(lines)


def _choose_size(name: str, rates: list[MeasuredRate], frames: int) -> tuple[TransformerSize, int]:
    """The model's size and its frames."""
    if name == "real":
        return REAL, frames
    rate = find_rate(rates, "cpu", "embedded", None)
    if rate is None:
        return EMBEDDED, EMBEDDED_FRAMES
    return TransformerSize(rate.parameters, EMBEDDED.width, EMBEDDED.depth, EMBEDDED.channels), rate.frames


def _divide_memory(plan: PassPlan, size: TransformerSize) -> MemoryUse:
    held, at_once = divide_memory(plan.memory_bytes, size.parameters, plan.cells, plan.is_low)
    least = f"--memory-gb {plan.memory_bytes / 1e9:g}"
    need(at_once >= 1, f"{least}: too small for one gradient and one direction of this model")
    by_cell = plan.is_low or 4 * plan.cells * size.parameters > plan.memory_bytes
    return MemoryUse(by_cell, held, at_once, -(-plan.directions // at_once) if by_cell else 1)


def _choose_pace(
    plan: PassPlan, rate: MeasuredRate | None, size: TransformerSize, frames: int, held: int
) -> tuple[Pace, list[str]]:
    """The pace of a worker, and where it comes from."""
    operations = count_gradient_operations(size, frames)
    if rate is not None:
        share = operations / rate.gradient_s / 1e12 / rate.matmul_tflops
        source = f"{rate.gradient_s * 1e3:.3g} ms a gradient, {rate.product_s * 1e6:.3g} us a product ({rate.source})"
        return rate.pace, [source, f"that is {share:.0%} of the measured matmul rate"]
    need(plan.is_low, "nothing is measured for this model on a CPU: run `python -m precompute plan --measure` first")
    card = CARDS[plan.gpu]
    product_s = 2.0 * size.parameters / held / (card.bandwidth_tb * 1e12 * PEAK_SHARE)
    return Pace(operations / (card.peak_tflops * 1e12 * PEAK_SHARE), product_s), [
        f"{PEAK_SHARE:.0%} of the card's peak of {card.peak_tflops:g} TFLOP/s (bf16, dense, data sheet) for gradients",
        f"{PEAK_SHARE:.0%} of its {card.bandwidth_tb:g} TB/s for reading directions, once for {held} gradients",
    ]


def _describe_memory(plan: PassPlan, size: TransformerSize, use: MemoryUse) -> list[str]:
    weights_gb, memory_gb = 4 * size.parameters / 1e9, plan.memory_bytes / 1e9
    lines = [f"memory: {weights_gb:.3g} GB of weights and {memory_gb:.3g} GB ([pass] memory_gb) a worker"]
    if not use.by_cell:
        directions_gb = 4e-9 * plan.directions * size.parameters
        return [*lines, f"  directions of {directions_gb:.3g} GB are read from disk by runs of parameters"]
    kind, at_once = "bf16" if plan.is_low else "fp32", min(use.at_once, plan.directions)
    return [
        *lines,
        f"  {at_once} of {plan.directions} directions at once ({kind}): gradients are computed {use.rounds} times",
        "  activations come on top (not counted)",
    ]


def _describe_disk(plan: PassPlan, size: TransformerSize, frames: int) -> str:
    latents = 4.0 * plan.tracks * size.channels * frames
    directions = 4.0 * plan.directions * size.parameters
    results = 8.0 * plan.tracks * (plan.cells * HALVES * plan.clips + plan.cohort)
    return (
        f"disk: {(latents + directions + results) / 1e9:.3g} GB: latents {latents / 1e9:.3g}, directions"
        f" {directions / 1e9:.3g}, results {results / 1e9:.3g}"
    )

"""The verb `plan`: time, memory and disk of a pass. Measured rates where there are any; else projected, and said so.

Every assumption is printed with the number that rests on it. Bytes in powers of ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from precompute.common.progress import format_duration
from precompute.common.results import RESULTS_FOLDER
from precompute.config.run import PassSection
from precompute.cost.rates import Rate, find, kept
from precompute.cost.sizes import EMBEDDED, HALVES, REAL, Size, operations, rows_of
from precompute.errors import need
from precompute.gradients.memory import divide_memory

PAPER = 40.0  # GPU-hours a clip over 115,000 tracks: arXiv 2506.18312
SHARE = 0.4  # of a card's peak that is assumed where nothing was measured
MEMORY_SHARE = 0.85  # of a card's memory, for gradients and directions


@dataclass(frozen=True)
class Card:
    """NVIDIA's data sheets, SXM, dense."""

    peak_tflops: float  # bf16
    memory_gb: float
    bandwidth_tb: float  # a second


CARDS = {"h100": Card(989.0, 80.0, 3.35), "h200": Card(989.0, 141.0, 4.8)}


@dataclass(frozen=True)
class Question:
    """What is to be planned."""

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


def plan(question: Question, folder: Path = RESULTS_FOLDER) -> str:
    """The answer, as text. Raises UserError where the memory is too small, or nothing is known of the device."""
    q, lines, rates = question, [], kept(folder)
    name = q.model or ("embedded" if q.gpu == "cpu" else "real")
    rate = find(rates, q.gpu, name, None if name == "embedded" else q.frames)
    size, frames = _size(name, rates, q.frames)
    low = q.gpu != "cpu"
    memory = (q.memory_gb or (CARDS[q.gpu].memory_gb * MEMORY_SHARE if low else PassSection.memory_gb)) * 1e9
    rows = rows_of(q.clips, q.cohort)
    by_cell = low or 4 * q.cells * size.parameters > memory
    held, at_once = divide_memory(memory, size.parameters, q.cells, low)
    need(at_once >= 1, f"--memory-gb {memory / 1e9:g}: too small for one gradient and one direction of this model")
    rounds = -(-rows // at_once) if by_cell else 1

    gradient_s, product_s, grounds = _rates(q, rate, size, frames, held)
    per_track = q.cells * (rounds * gradient_s + rows * product_s)
    whole = per_track * q.tracks / q.workers
    word = "measured rates" if rate else "projected"
    millions = f"{size.parameters / 1e6:,.1f} M"
    lines.append(f"{q.tracks:,} tracks x {q.clips} clips, {name} model of {millions} parameters, {frames} frames")
    lines.append(f"time: {long(whole)} on {q.workers} x {q.gpu} ({word}): {per_track:.3g} s a track")
    hours = per_track * q.tracks / 3600
    lines.append(
        f"  {hours:,.1f} {q.gpu}-hours for all clips; the paper tells {PAPER:g} GPU-hours a clip over 115,000 tracks"
    )
    if q.cost_per_hour:
        lines.append(f"cost: {hours * q.cost_per_hour:,.2f} ({q.cost_per_hour:g} an hour and worker)")
    lines += _memory(size, memory, rows, at_once, rounds, by_cell, low)
    lines += _disk(q, size, frames, rows)
    lines.append("assumptions:")
    lines += [f"  {line}" for line in grounds]
    lines.append(
        f"  {q.cells} cells of the noise bank a track, one draw each; {HALVES} halves a clip, a cohort of {q.cohort}"
    )
    lines.append("  work is spread evenly; preparing latents, clips and directions is not counted")
    if rate is None:
        lines.append(f"  not measured on {q.gpu}: every time and cost above is projected")
    return "\n".join(lines)


def _size(name: str, rates: list[Rate], frames: int) -> tuple[Size, int]:
    if name == "real":
        return REAL, frames
    rate = find(rates, "cpu", "embedded", None)
    if rate is None:
        return EMBEDDED, 375
    return Size(rate.parameters, EMBEDDED.width, EMBEDDED.depth, EMBEDDED.channels), rate.frames


def _rates(q: Question, rate: Rate | None, size: Size, frames: int, held: int) -> tuple[float, float, list[str]]:
    """Seconds of a gradient, seconds of a product with one direction, and where they come from."""
    if rate is not None:
        achieved = operations(size, frames) / rate.gradient_s / 1e12
        share = achieved / rate.matmul_tflops
        source = f"{rate.gradient_s * 1e3:.3g} ms a gradient, {rate.product_s * 1e6:.3g} us a product ({rate.source})"
        return rate.gradient_s, rate.product_s, [source, f"that is {share:.0%} of the measured matmul rate"]
    need(q.gpu != "cpu", "nothing is measured for this model on a CPU: run `python -m precompute plan --measure` first")
    card = CARDS[q.gpu]
    gradient = operations(size, frames) / (card.peak_tflops * 1e12 * SHARE)
    product = 2.0 * size.parameters / held / (card.bandwidth_tb * 1e12 * SHARE)
    grounds = [
        f"{SHARE:.0%} of the card's peak of {card.peak_tflops:g} TFLOP/s (bf16, dense, data sheet) for gradients",
        f"{SHARE:.0%} of its {card.bandwidth_tb:g} TB/s for reading directions, {held} gradients sharing a reading",
    ]
    return gradient, product, grounds


def _memory(size: Size, memory: float, rows: int, at_once: int, rounds: int, by_cell: bool, low: bool) -> list[str]:
    found = [
        f"memory: {4 * size.parameters / 1e9:.3g} GB of weights and {memory / 1e9:.3g} GB ([pass] memory_gb) a worker"
    ]
    if not by_cell:
        found.append(f"  directions of {4e-9 * rows * size.parameters:.3g} GB are read from disk by runs of parameters")
        return found
    kind = "bf16" if low else "fp32"
    found.append(f"  {min(at_once, rows)} of {rows} directions at once ({kind}): gradients are computed {rounds} times")
    found.append("  activations come on top (not counted)")
    return found


def _disk(q: Question, size: Size, frames: int, rows: int) -> list[str]:
    latents = 4.0 * q.tracks * size.channels * frames
    steps = 4.0 * rows * size.parameters
    results = 2 * 8.0 * q.tracks * (q.cells * HALVES * q.clips + q.cohort)
    return [
        f"disk: {(latents + steps + results) / 1e9:.3g} GB: latents {latents / 1e9:.3g}, directions {steps / 1e9:.3g},"
        f" results {results / 1e9:.3g} (shards, and the run's cache)"
    ]


def long(seconds: float) -> str:
    """Hours and days where `duration` would count minutes."""
    if seconds < 7200:
        return format_duration(seconds)
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"

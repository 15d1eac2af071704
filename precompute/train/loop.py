"""One training loop for every demo model: seeded by step, resumable, averaged (EMA), logged.

The batch of step k depends on (seed, k) alone, so a run that was killed and resumed sees the same data as one that was
not. A checkpoint is written beside and renamed: a kill in the middle leaves the last good one. Two are kept:
`NAME.pt` holds all that a run needs to go on as if nothing had happened; `NAME.ema.safetensors` the averaged weights
alone, in fp16, small enough to outlive the machine. A run that finds only the latter goes on from it with a fresh
optimiser, warmed up again.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from precompute.common.files import write_atomically
from precompute.common.seeds import derive_seed
from precompute.train.optimiser import MuonAndAdamW

LossFunction = Callable[[int, torch.Generator], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class LoopSettings:
    """Length and rates of a training; steps count from 0."""

    steps: int
    learning_rate: float  # AdamW's peak; linear warm-up, then cosine to a twentieth
    muon_rate: float = 0.0  # Muon's peak, for matrices; 0: AdamW for all
    muon_images: bool = False  # kernels of two-dimensional convolutions count as matrices too
    batch: int = 16  # items per step
    warmup_steps: int = 200
    ema_decay: float = 0.998
    weight_decay: float = 0.0
    keep_at: tuple[int, ...] = ()  # steps at which the averaged weights are measured and kept
    save_every: int = 250  # steps between resumable checkpoints
    log_every: int = 50
    bf16: bool = True  # autocast; the weights stay fp32
    seed: int = 0

    def compute_rate_factor(self, step: int, fresh_since: int = 0) -> float:
        """Share of the peak rates at a step, 0 to 1; `fresh_since`: the step at which the optimiser began anew."""
        warm = min(1.0, (step - fresh_since + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        progress = max(0, step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = 0.5 * (1 + math.cos(progress * math.pi))
        return warm * (0.05 + 0.95 * cosine)


def save_state(payload: object, path: Path) -> None:
    """Write a torch file atomically; in memory first, because torch reports a full disk in its own words."""
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    write_atomically(path, buffer.getvalue())


def fit(
    name: str,
    model: nn.Module,
    losses_of: LossFunction,
    settings: LoopSettings,
    folder: Path,
    on_keep: Callable[[int], None] | None = None,
) -> None:
    """Train `model` in place; it ends with the exponential moving average (EMA) of its weights.

    `losses_of(step, generator)` returns named scalars; 'loss' is minimised. `on_keep(step)` is called at the steps in
    `settings.keep_at` and at the last one, with the EMA in the model. Progress goes to stdout and, a JSON object a
    line, to `folder/NAME.log.jsonl`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parameters = list(named.values())
    device = parameters[0].device
    rates = settings.learning_rate, settings.muon_rate
    optimiser = MuonAndAdamW(parameters, *rates, settings.weight_decay, settings.muon_images)
    average = {name: p.detach().clone() for name, p in named.items()}
    start, fresh_since = _resume(folder / name, model, named, average, optimiser)
    log = _TrainingLog(name, folder, settings, start)
    for step in range(start, settings.steps):
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, step))
        torch.manual_seed(derive_seed(settings.seed, step))  # dropout, where the model has any, draws from here
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
            losses = losses_of(step, generator)
        optimiser.zero_grad()
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step(settings.compute_rate_factor(step, fresh_since))
        _average_into(average, named, min(settings.ema_decay, (step + 1) / (step + 10)))
        done = step + 1
        log.add(losses, done)
        if on_keep is not None and (done in settings.keep_at or done == settings.steps):
            with swap_in_average(named, average):
                on_keep(done)
        if done % settings.save_every == 0 or done == settings.steps:
            state = {
                "step": done,
                "model": {key: p.detach() for key, p in named.items()},
                "average": average,
                "buffers": dict(model.named_buffers()),  # running statistics
                "optimiser": optimiser.state_dict(),
                "fresh_since": fresh_since,
            }
            save_state(state, folder / f"{name}.pt")
            save_average({**average, **dict(model.named_buffers())}, done, folder / f"{name}.ema.safetensors")
    _copy_into(named, average)


class _TrainingLog:
    """Means of the losses since the last line, written to stdout and to `folder/NAME.log.jsonl`."""

    def __init__(self, name: str, folder: Path, settings: LoopSettings, start: int) -> None:
        self.name, self.settings, self.start = name, settings, start
        self.path = folder / f"{name}.log.jsonl"
        self.began = time.monotonic()
        self.sums: dict[str, float] = {}

    def add(self, losses: dict[str, torch.Tensor], done: int) -> None:
        """Count in the losses of a step; write a line where one is due after `done` steps."""
        for key, value in losses.items():
            self.sums[key] = self.sums.get(key, 0.0) + value.item()
        settings = self.settings
        if done % settings.log_every and done != settings.steps:
            return
        count = (done - self.start - 1) % settings.log_every + 1
        row = {key: total / count for key, total in self.sums.items()}
        pace = (time.monotonic() - self.began) / (done - self.start)
        left_min = pace * (settings.steps - done) / 60
        shown = "  ".join(f"{key} {value:.4f}" for key, value in row.items())
        print(f"{self.name} {done}/{settings.steps}  {shown}  {pace:.2f} s a step, {left_min:.0f} min left", flush=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"step": done, **row}) + "\n")
        self.sums = {}


def measure_step_s(model: nn.Module, losses_of: LossFunction, settings: LoopSettings) -> float:
    """Seconds of a step of `fit` here: the second of two. The model's weights change."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = MuonAndAdamW(parameters, settings.learning_rate, settings.muon_rate, settings.weight_decay)
    began = 0.0
    for step in range(2):
        began = time.monotonic()
        generator = torch.Generator().manual_seed(settings.seed)
        with torch.autocast(parameters[0].device.type, torch.bfloat16, enabled=settings.bf16):
            losses = losses_of(step, generator)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step(settings.compute_rate_factor(step))
    return time.monotonic() - began


@contextlib.contextmanager
def swap_in_average(named: dict[str, nn.Parameter], average: dict[str, torch.Tensor]) -> Iterator[None]:
    """Put the EMA into the model for the block; the weights come back at its end."""
    raw = {name: p.detach().clone() for name, p in named.items()}
    _copy_into(named, average)
    try:
        yield
    finally:
        _copy_into(named, raw)


def save_average(weights: dict[str, torch.Tensor], step: int, path: Path) -> None:
    """Weights in fp16 with their training step, by name."""
    from safetensors.torch import save

    half = {name: value.detach().half().contiguous().cpu() for name, value in weights.items()}
    write_atomically(path, save(half, metadata={"step": str(step)}))


def _resume(
    stem: Path,
    model: nn.Module,
    named: dict[str, nn.Parameter],
    average: dict[str, torch.Tensor],
    optimiser: MuonAndAdamW,
) -> tuple[int, int]:
    """Load a checkpoint where there is one; returns the step to go on from, and that at which the optimiser began."""
    path, small = stem.with_name(f"{stem.name}.pt"), stem.with_name(f"{stem.name}.ema.safetensors")
    if path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True)
        _copy_into(named, state["model"])
        average.update({key: value.to(average[key].device) for key, value in state["average"].items()})
        model.load_state_dict(state["buffers"], strict=False)
        optimiser.load_state_dict(state["optimiser"])
        step, fresh_since = int(state["step"]), int(state["fresh_since"])
        print(f"{stem.name}: resumed at step {step}", flush=True)
        return step, fresh_since
    if small.exists():
        from safetensors import safe_open

        with safe_open(str(small), "pt") as file:
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (no mapping)
            step = int(file.metadata()["step"])
        model.load_state_dict(weights, strict=False)
        average.update({name: p.detach().clone() for name, p in named.items()})
        print(f"{stem.name}: goes on from the averaged weights of step {step}, optimiser warmed up again", flush=True)
        return step, step
    return 0, 0


@torch.no_grad()
def _copy_into(named: dict[str, nn.Parameter], values: dict[str, torch.Tensor]) -> None:
    for name, parameter in named.items():
        parameter.copy_(values[name])


@torch.no_grad()
def _average_into(average: dict[str, torch.Tensor], named: dict[str, nn.Parameter], decay: float) -> None:
    for name, parameter in named.items():
        average[name].lerp_(parameter, 1 - decay)

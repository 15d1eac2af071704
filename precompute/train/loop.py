"""One training loop for every demo model: seeded by step, resumable, averaged (EMA), logged.

The batch of step k depends on (seed, k) alone, so a run that was killed and resumed sees the same data as one that was
not. A checkpoint is written beside and renamed: a kill in the middle leaves the last good one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

LossFunction = Callable[[int, torch.Generator], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to train."""

    steps: int
    learning_rate: float  # peak; linear warm-up, then cosine to a twentieth
    warmup_steps: int = 200
    ema_decay: float = 0.998
    weight_decay: float = 0.0
    save_every: int = 250  # steps between resumable checkpoints
    log_every: int = 50
    bf16: bool = True  # autocast; the weights stay fp32
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = 0.5 * (1 + torch.cos(torch.tensor(progress * torch.pi)).item())
        return self.learning_rate * (0.05 + 0.95 * cosine)


def save_atomically(payload: object, path: Path) -> None:
    """Write a torch file beside `path`, then rename it into place."""
    beside = path.with_suffix(path.suffix + ".part")
    torch.save(payload, beside)
    os.replace(beside, path)


def fit(
    name: str,
    model: nn.Module,
    losses_of: LossFunction,
    settings: LoopSettings,
    folder: Path,
    keep_at: tuple[int, ...] = (),
    on_keep: Callable[[int], None] | None = None,
) -> None:
    """Train `model` in place; it ends with the exponential moving average (EMA) of its weights.

    `losses_of(step, generator)` returns named scalars; 'loss' is minimised. `on_keep(step)` is called at the steps in
    `keep_at`, with the EMA in the model. Progress goes to stdout and, a JSON object a line, to `folder/NAME.log.jsonl`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parameters = list(named.values())
    device = parameters[0].device
    optimiser = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay
    )
    average = {name: p.detach().clone() for name, p in named.items()}
    start = _resume(folder / f"{name}.pt", model, named, average, optimiser)
    log = (folder / f"{name}.log.jsonl").open("a")
    sums: dict[str, float] = {}
    began = time.monotonic()
    for step in range(start, settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.rate(step)
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout, where the model has any, draws from here
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
            losses = losses_of(step, generator)
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        _average_into(average, named, min(settings.ema_decay, (step + 1) / (step + 10)))
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + value.item()
        done = step + 1
        if done % settings.log_every == 0 or done == settings.steps:
            count = (done - start - 1) % settings.log_every + 1
            row = {key: total / count for key, total in sums.items()}
            pace = (time.monotonic() - began) / (done - start)
            left_min = pace * (settings.steps - done) / 60
            shown = "  ".join(f"{key} {value:.4f}" for key, value in row.items())
            print(f"{name} {done}/{settings.steps}  {shown}  {pace:.2f} s a step, {left_min:.0f} min left", flush=True)
            log.write(json.dumps({"step": done, **row}) + "\n")
            log.flush()
            sums = {}
        if on_keep is not None and done in keep_at:
            with averaged(named, average):
                on_keep(done)
        if done % settings.save_every == 0 or done == settings.steps:
            state = {
                "step": done,
                "model": {key: p.detach() for key, p in named.items()},
                "average": average,
                "buffers": dict(model.named_buffers()),  # running statistics
                "optimiser": optimiser.state_dict(),
            }
            save_atomically(state, folder / f"{name}.pt")
    log.close()
    _copy_into(named, average)


@contextlib.contextmanager
def averaged(named: dict[str, nn.Parameter], average: dict[str, torch.Tensor]) -> Iterator[None]:
    """The EMA stands in the model for a while."""
    raw = {name: p.detach().clone() for name, p in named.items()}
    _copy_into(named, average)
    try:
        yield
    finally:
        _copy_into(named, raw)


def _resume(
    path: Path,
    model: nn.Module,
    named: dict[str, nn.Parameter],
    average: dict[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
) -> int:
    """Load a checkpoint where there is one; the step to go on from."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    _copy_into(named, state["model"])
    average.update({key: value.to(average[key].device) for key, value in state["average"].items()})
    model.load_state_dict(state["buffers"], strict=False)
    optimiser.load_state_dict(state["optimiser"])
    print(f"{path.stem}: resumed at step {state['step']}", flush=True)
    return int(state["step"])


@torch.no_grad()
def _copy_into(named: dict[str, nn.Parameter], values: dict[str, torch.Tensor]) -> None:
    for name, parameter in named.items():
        parameter.copy_(values[name])


@torch.no_grad()
def _average_into(average: dict[str, torch.Tensor], named: dict[str, nn.Parameter], decay: float) -> None:
    for name, parameter in named.items():
        average[name].lerp_(parameter, 1 - decay)

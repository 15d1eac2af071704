"""What a judgement costs, told before it begins: one gradient is measured, the rest is counted.

Right to a factor of two or so, and for the gradient methods alone: a method that listens adds its own. What an earlier,
interrupted judgement kept is not taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from precompute.common.parallel import count_workers
from precompute.common.progress import format_duration
from precompute.config.run import RunConfig
from precompute.cost.measurement import timed
from precompute.evaluate.scoring import looks_at_gradients
from precompute.gradients.context import make_noise_bank
from precompute.gradients.flat_vectors import count_parameters
from precompute.gradients.item_gradients import GradientKind, compute_cell_gradient
from precompute.model.diffusion import Items, Model

FORWARD = 1 / 3  # of a gradient's time


@dataclass(frozen=True)
class Pace:
    """Seconds of a gradient by one draw, and how many run at the same time."""

    gradient_s: float
    workers: int
    gradients: bool  # whether any of the methods looks at tracks' gradients

    @classmethod
    def measure(cls, model: Model, items: Items, config: RunConfig) -> Pace:
        """On this device, of the first item, by the methods of `config`; takes a second or so."""
        layers = config.unlearning.layers
        workers = count_workers(model.device, count_parameters(model.parameters(layers)))
        threads, item, bank = torch.get_num_threads(), items[[0]], make_noise_bank(config.bank)
        with torch.no_grad():
            condition = model.condition(item)
        torch.set_num_threads(1 if workers > 1 else threads)
        try:
            one = timed(
                lambda: compute_cell_gradient(model, item, condition, GradientKind("loss", layers), bank, (0, 0)),
                3,
                model.device,
            )
        finally:
            torch.set_num_threads(threads)
        return cls(one / bank.draws_per_cell, workers, looks_at_gradients(config))

    def scoring(self, config: RunConfig, clips: int, tracks: int, fisher_tracks: int = 0) -> float:
        """Seconds to score so many clips and the cohort against tracks; `fisher_tracks`: of a curvature of its own."""
        bank = config.bank
        draws = (clips + config.clips.cohort) * config.unlearning.ascent_draws
        draws += tracks * bank.replicates * bank.strata * bank.draws_per_cell
        draws += fisher_tracks * config.fisher.draws * self.workers  # one after another
        return self.gradients * draws * self.gradient_s / self.workers

    def generating(self, config: RunConfig, clips: int) -> float:
        """Seconds to make so many clips, guided."""
        return clips * config.clips.steps * 2 * FORWARD * self.gradient_s / self.workers


def tell(parts: Sequence[tuple[str, float]]) -> None:
    """Print the parts in seconds, and their sum."""
    whole = format_duration(sum(seconds for _, seconds in parts))
    print(f"this takes about {whole} on this machine, as busy as it is:")
    for what, seconds in parts:
        print(f"  {what}: {format_duration(seconds)}", flush=True)

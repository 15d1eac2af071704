"""Estimated time of a judgement, printed before it begins: one gradient is measured, the rest is counted.

Of the gradient methods alone: a method that listens adds its own. What an earlier, interrupted judgement kept is not
taken off. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from precompute.common.parallel import count_workers
from precompute.common.progress import format_duration
from precompute.config.run import RunConfig
from precompute.cost.measurement import measure_gradient
from precompute.cost.work import Pace, count_generation, count_scoring
from precompute.gradients.context import make_noise_bank
from precompute.gradients.flat_vectors import count_parameters
from precompute.model.diffusion import Items, Model


@dataclass(frozen=True)
class EvaluationPace:
    """The pace of this machine for the methods of a config."""

    pace: Pace  # of one worker
    workers: int
    with_gradients: bool  # any of the methods looks at tracks' gradients

    @classmethod
    def measure(cls, model: Model, items: Items, config: RunConfig, with_gradients: bool) -> EvaluationPace:
        """On this device, of the first item; takes a second or so."""
        layers, threads = config.unlearning.layers, torch.get_num_threads()
        workers = count_workers(model.device, count_parameters(model.parameters(layers)))
        torch.set_num_threads(1 if workers > 1 else threads)
        try:
            gradient_s = measure_gradient(model, items[[0]], make_noise_bank(config.bank), layers, repeats=3)
        finally:
            torch.set_num_threads(threads)
        return cls(Pace(gradient_s), workers, with_gradients)

    def estimate_scoring(self, config: RunConfig, clips: int, tracks: int, fisher_tracks: int = 0) -> float:
        """Seconds to score so many clips and the cohort against tracks; `fisher_tracks`: of a curvature of its own."""
        if not self.with_gradients:
            return 0.0
        return count_scoring(config, clips, tracks, fisher_tracks).estimate_seconds(self.pace, self.workers)

    def estimate_generation(self, config: RunConfig, clips: int) -> float:
        """Seconds to make so many clips, guided."""
        return count_generation(config, clips).estimate_seconds(self.pace, self.workers)


def print_estimate(parts: Sequence[tuple[str, float]]) -> None:
    """Print the parts, each in seconds, and their sum."""
    whole = format_duration(sum(seconds for _, seconds in parts))
    print(f"this takes about {whole} on this machine, as busy as it is:")
    for what, seconds in parts:
        print(f"  {what}: {format_duration(seconds)}", flush=True)

"""Unlearning as the paper does it: steps of a real length, and the tracks' real losses before and after.

A run's scores are exact to first order, the limit of ever shorter steps. A step that is felt also bends: whether that
tells more, or less, of what retraining does is asked here, for one step and for several.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from precompute.common.parallel import count_workers, run_jobs
from precompute.gradients.context import Context
from precompute.gradients.finite_difference import compute_bank_losses, subtract_losses
from precompute.gradients.steps import UnlearningStep

LENGTHS = (1e-3, 1e-2)  # of the first step, relative to the weights
STEPS = (1, 4)


def score_real_steps(context: Context, steps: int, relative_step: float) -> np.ndarray:
    """Rise of each track's loss for each shown clip after so many steps, the first of that relative length: [Q, N].

    Per unit of the direction, so that scores of all lengths are alike in size. Cached clip by clip.
    """
    section = replace(context.config.unlearning, steps=steps, relative_step=relative_step)
    model, step = context.model, UnlearningStep(section, len(context.trained))
    before = context.cache_piece("before", lambda: {"losses": np.array(_measure(context))})["losses"]
    inverse_fisher = context.load_inverse_fisher()

    def load(row: int) -> np.ndarray:
        def compute() -> dict[str, np.ndarray]:
            clip = context.select_clip("shown", row)
            walked = step.walk(model, clip, inverse_fisher, False, (1, steps))
            first, last = (walked[count][:, 0].mean(0) for count in (1, steps))
            length = relative_step * float(last.double().norm() / first.double().norm())
            rises = subtract_losses(model, context.items, last, section, context.bank, length, before.tolist())
            return {"rises": rises.numpy()}

        return context.cache_piece(f"steps-{steps}-{relative_step:g}-{row:03d}", compute)["rises"]

    what = f"{steps} real steps of {relative_step:g}, clips"
    workers = count_workers(model.device, context.parameter_count)
    run_jobs(what, range(len(context.queries.shown)), load, workers, context.cache)
    return np.stack([load(row) for row in range(len(context.queries.shown))])


def _measure(context: Context) -> list[float]:
    with torch.no_grad():
        return compute_bank_losses(context.model, context.items, context.config.unlearning, context.bank)

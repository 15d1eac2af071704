"""Exact scores of a shortlist, in whichever of two ways is less work; both are exact to first order.

Forward mode (`gradients/steps.py`): one derivative for each clip and track, cheaper than a gradient for one clip or
two, with moments at no further cost. It has neither halves of the clip's draws nor windows of the clip: how far the
halves lie apart is taken from the sketches, and so is how a score is spread over the windows.
Gradient product: one gradient per track for all clips, as a run does it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.common.progress import progress
from precompute.gradients.context import Queries
from precompute.gradients.directions import Directions
from precompute.gradients.steps import UnlearningStep
from precompute.gradients.taps import StepTap
from precompute.gradients.track_pass import gather
from precompute.model.diffusion import Items, Model, NoiseBank

FORWARD_MODE_CLIPS = 2  # up to so many, forward mode is less work


@dataclass(frozen=True)
class Shortlist:
    """Tracks that are scored exactly for Q clips; n tracks, D draws of the noise bank, F frames of a track."""

    model: Model
    step: UnlearningStep
    directions: Directions  # of the clips
    queries: Queries  # the clips
    tracks: Items  # n
    apart: np.ndarray  # [Q, n, H]: what the sketches say of a half's score, less the mean over halves
    bank: NoiseBank
    cache: Cache

    @property
    def is_forward(self) -> bool:
        """True where forward mode is used: for few clips, and not with normalised timesteps.

        These scale every draw's gradient to length 1, which a sum over frames cannot follow.
        """
        return self.step.has_moments and len(self.queries.shown) <= FORWARD_MODE_CLIPS

    def compute_scores(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Partial scores [Q, n, R, S, H]; and by window of the clip [Q, n, W], None where these are not computed."""
        if not self.is_forward:
            tap = StepTap(self.directions, self.step.kind, self.directions.key)
            products = gather(self.model, self.tracks, self.bank, [tap], self.cache)[tap.stage, tap.key]
            result = self.step.arrange_scores(products, self.model, self.queries, self.bank)
            return result.cells, result.windows
        clips, count = len(self.queries.shown), len(self.tracks)
        workers = count_workers(self.model.device, self.directions.parameters)
        for clip in range(clips):
            self.directions.average_halves(clip)  # read once, before workers are forked
            run_jobs("exact scores", range(clip * count, (clip + 1) * count), self._compute_rises, workers, self.cache)
        cells = np.stack([self._compute_rises(job)["rises"].mean(1) for job in range(clips * count)])  # [Q x n, D]
        parts = cells.reshape(clips, count, self.bank.replicates, self.bank.strata, self.bank.draws_per_cell).mean(4)
        return parts[..., None] + self.apart[:, :, None, None, :], None

    def compute_moments(self, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], np.ndarray]:
        """Influence over time in the track, [F] by (clip row, row of the shortlist)."""
        if not self.step.has_moments:
            return {}
        listed = pairs if self.is_forward else list(progress("moments", pairs))
        return {(q, n): self._compute_rises(q * len(self.tracks) + n)["rises"].mean(0) for q, n in listed}

    def _compute_rises(self, job: int) -> Arrays:
        """Loss rise per draw and frame of one (clip, track) pair, [D, F]; cached."""
        q, n = divmod(job, len(self.tracks))

        def compute() -> Arrays:
            direction: torch.Tensor = self.directions.average_halves(q)
            rises = self.step.compute_rises(self.model, self.tracks[[n]], direction, self.bank)
            return {"rises": rises.numpy()}

        return self.cache.get(Entry("rises", self.directions.key, job), compute)

"""TracIn (Pruthi et al. 2020, arXiv 2002.08484): gradient products summed over checkpoints of training.

Each checkpoint counts alike: their learning rates are not kept with them, and the warm-up aside they differ by its
decay alone. Clips stay those of the shipped model; draws, layers and mask are unlearning's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from precompute.common.cache import Arrays
from precompute.common.sequences import spread_evenly
from precompute.config.run import fingerprint
from precompute.gradients.directions import Tap, dot
from precompute.gradients.per_item import of_clip
from precompute.methods.base import Context, GradientMethod, MethodResult
from precompute.methods.taps import by_replicate, clip_kind, linear_result, parameters, track_kind
from precompute.methods.unlearning import HALVES, ascent_bank


class Tracin(GradientMethod):
    """The gradient product along training."""

    name = "tracin"
    label = "TracIn"
    description = "The gradient product, added up over the model as it was at several points of its training."
    cost = "a full pass over tracks and clips for each checkpoint"
    needs = "checkpoints of the training: step-NNNNNN/model.safetensors"

    def requirements(self, context: Context) -> str | None:
        folder = self._folder(context)
        if not str(folder):
            return "no checkpoints of the training are named; set [methods.tracin] checkpoints"
        return None if self._paths(context) else f"{folder}: no checkpoints of the training here"

    def _folder(self, context: Context) -> str:
        return self.settings.checkpoints or context.config.diagnostics.checkpoints

    def _paths(self, context: Context) -> list[Path]:
        folder = self._folder(context)
        paths = sorted(Path(folder).glob("step-*/model.safetensors")) if folder else []
        return [paths[row] for row in spread_evenly(len(paths), self.settings.most)]

    def taps(self, context: Context) -> dict[str, Tap]:
        return {}  # its passes are over other weights

    def scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        from precompute.gradients.track_pass import gather, sum_seconds
        from precompute.model.diffusion import load_model

        cells, cohort, seconds = [], [], 0.0
        for path in self._paths(context):
            print(f"  TracIn: {path.parent.name}", flush=True)
            there = replace(context, model=load_model(context.config, path), memo={})
            tap = CheckpointTap(there, self.settings.normalise_timesteps)
            kept = gather(there.model, there.items, there.bank, [tap], there.cache)[tap.stage, tap.key]
            shape = (*kept["cells"].shape[:2], -1, HALVES)
            cells.append(kept["cells"].reshape(shape).transpose(2, 0, 1, 3))
            cohort.append(kept["cohort"].T)
            seconds += sum_seconds([tap], there.model, len(there.items), there.cache)
        return replace(linear_result(np.mean(cells, 0), np.mean(cohort, 0)), seconds=seconds)


class CheckpointTap(Tap):
    """Plain gradient products at other weights; the clips' gradients are held in memory alone."""

    def __init__(self, context: Context, normalised: bool) -> None:
        self.context, self.clip_kind = context, clip_kind(context, normalised)
        self.own = ascent_bank(context.config.unlearning)
        key = fingerprint(context.key, context.model.sha256, context.config.bank, self.clip_kind, vars(self.own))
        super().__init__("products-tracin", key, track_kind(context, normalised), parameters(context))
        self.clips: tuple[torch.Tensor, torch.Tensor] | None = None

    def prepare(self) -> None:
        rows = [
            of_clip(self.context.model, self.context.clip(*c), self.clip_kind, self.own) for c in self.context.stored
        ]
        usual = [self._mean(row) for row in range(len(self.context.queries.cohort))]
        self.clips = torch.cat(rows), torch.stack(usual)

    def _mean(self, row: int) -> torch.Tensor:
        return of_clip(self.context.model, self.context.clip("cohort", row), self.clip_kind, self.own).mean(0)

    def take(self, rows: torch.Tensor, losses: torch.Tensor) -> Arrays:
        assert self.clips is not None
        means = by_replicate(rows, self.context.bank.replicates)
        return {
            "cells": dot(means, self.clips[0]).numpy(),
            "cohort": dot(means.mean(0, keepdim=True), self.clips[1])[0].numpy(),
        }

    def release(self) -> None:
        self.clips = None

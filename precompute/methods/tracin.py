"""TracIn (Pruthi et al. 2020, arXiv 2002.08484): gradient products summed over checkpoints of training.

Each checkpoint counts alike: their learning rates are not kept with them, and the warm-up aside they differ by its
decay alone. Clips stay those of the shipped model; draws, layers and mask are unlearning's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from precompute.common.sequences import spread_evenly
from precompute.config.run import fingerprint
from precompute.gradients.context import Context
from precompute.gradients.directions import LoadedDirections
from precompute.gradients.steps import make_one_step
from precompute.gradients.taps import ProductTap, Tap, arrange_products
from precompute.gradients.track_pass import gather, sum_seconds
from precompute.methods.base import GradientMethod, MethodResult
from precompute.model.diffusion import load_model


class Tracin(GradientMethod):
    """The gradient product along training."""

    name = "tracin"
    label = "TracIn"
    description = "The gradient product, added up over the model as it was at several points of its training."
    cost = "a full pass over tracks and clips for each checkpoint"
    needs = "checkpoints of the training: step-NNNNNN/model.safetensors"

    def find_obstacle(self, context: Context) -> str | None:
        """The folder of checkpoints is not named, or empty."""
        folder = self._choose_folder(context)
        if not folder:
            return "no checkpoints of the training are named; set [methods.tracin] checkpoints"
        return None if self._list_checkpoints(context) else f"{folder}: no checkpoints of the training here"

    def _choose_folder(self, context: Context) -> str:
        return self.settings.checkpoints or context.config.diagnostics.checkpoints

    def _list_checkpoints(self, context: Context) -> list[Path]:
        folder = self._choose_folder(context)
        paths = sorted(Path(folder).glob("step-*/model.safetensors")) if folder else []
        return [paths[row] for row in spread_evenly(len(paths), self.settings.most)]

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """No taps in the common pass: its own passes are over other weights."""
        return {}

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Run a pass for each checkpoint, and average."""
        cells, cohort, seconds = [], [], 0.0
        for path in self._list_checkpoints(context):
            print(f"  TracIn: {path.parent.name}", flush=True)
            there = replace(context, model=load_model(context.config, path), memo={})
            tap = CheckpointTap(there, self.settings.normalise_timesteps)
            products = gather(there.model, there.items, there.bank, [tap], there.cache)[tap.stage, tap.key]
            own, usual = arrange_products(products)
            cells.append(own)
            cohort.append(usual)
            seconds += sum_seconds([tap], there.model, len(there.items), there.cache)
        return replace(MethodResult.without_strata(np.mean(cells, 0), np.mean(cohort, 0)), seconds=seconds)


class CheckpointTap(ProductTap):
    """Plain gradient products at other weights; the clips' gradients are held in memory alone."""

    def __init__(self, context: Context, normalised: bool) -> None:
        self.context, self.replicates = context, context.bank.replicates
        self.step = make_one_step(context, normalised)
        key = fingerprint(context.key, context.model.sha256, context.config.bank, self.step.describe_settings())
        kind = context.choose_track_kind(normalised)
        super().__init__("checkpoint-products", key, kind, context.parameter_count)
        self.gradients: LoadedDirections | None = None

    def prepare(self) -> None:
        """Compute the clips' gradients."""
        stored = [self._differentiate(kind, row) for kind, row in self.context.stored]
        cohort = [self._differentiate("cohort", row).mean(0) for row in range(len(self.context.queries.cohort))]
        self.gradients = LoadedDirections(torch.cat(stored), torch.stack(cohort))

    def _differentiate(self, kind: str, row: int) -> torch.Tensor:
        """[HALVES, P]"""
        clip = self.context.select_clip(kind, row)
        return self.step.compute_clip_gradients(self.context.model, clip, with_windows=False)[:, 0]

    def load_directions(self) -> LoadedDirections:
        """The gradients, made by `prepare`."""
        if self.gradients is None:
            raise RuntimeError("prepare the tap first")
        return self.gradients

    def release(self) -> None:
        """Give the gradients' memory back."""
        self.gradients = None

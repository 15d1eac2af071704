"""Unlearning with EK-FAC curvature in place of the diagonal Fisher (AbU+ in arXiv 2511.10721).

The one step is (alpha/N) (K + damping)^-1 grad L(clip) with K in Kronecker factors (`gradients/ekfac.py`), over the
Linear layers of the run's layer group; a track's score is its gradient's product with it. Draws and masks are
unlearning's. Clips are preconditioned, not tracks: there are fewer of them.
"""

from __future__ import annotations

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.config.run import fingerprint
from precompute.gradients.curvature import Reporter
from precompute.gradients.directions import Tap, dot
from precompute.gradients.ekfac import Ekfac, fit, linear_layers
from precompute.methods.base import Context, GradientMethod, MethodResult
from precompute.methods.taps import by_replicate, clip_directions, linear_result, one_step, parameters, track_kind
from precompute.methods.unlearning import HALVES


class UnlearningEkfac(GradientMethod):
    """Unlearning, EK-FAC curvature."""

    name = "unlearning-ekfac"
    label = "Unlearning, EK-FAC"
    description = "Unlearning whose step knows how the model's weights act together, not one by one."
    cost = "two passes over the training tracks for the curvature, then as unlearning"
    has_moments = True

    def taps(self, context: Context) -> dict[str, Tap]:
        return {"products": context.once(f"ekfac-{fingerprint(self.record())}", lambda: _EkfacTap(self, context))}

    def combine(self, context: Context, kept: dict[str, Arrays]) -> MethodResult:
        cells = kept["products"]["cells"]  # [N, R, Q x HALVES]
        cells = cells.reshape(*cells.shape[:2], -1, HALVES).transpose(2, 0, 1, 3)
        return linear_result(cells, kept["products"]["cohort"].T)

    def curvature(self, context: Context) -> Ekfac:
        """Kept by what it depends on."""
        entry = self._entry(context)
        settings, rows = self.settings, context.trained
        sizes = (settings.draws, settings.tracks, settings.seed)

        def compute() -> Arrays:
            return fit(context.model, context.items[rows], context.layers, *sizes, Reporter("EK-FAC"))

        layers = linear_layers(context.model, context.layers)
        return context.once(
            f"{entry}-{settings.damping}",
            lambda: Ekfac(layers, context.cache.get(entry, compute), settings.damping),
        )

    def _entry(self, context: Context) -> Entry:
        settings = self.settings
        sizes = (settings.draws, settings.tracks, settings.seed)
        return Entry("ekfac", fingerprint(context.track_key, context.layers, *sizes))

    def step(self, context: Context, halves: torch.Tensor) -> torch.Tensor:
        """Unlearning's directions [n, P] with this curvature in place of the diagonal one."""
        return self.curvature(context).solve(halves / context.inverse_fisher())

    def moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        direction = self.step(context, clip_directions(context, False).whole(clip)[None])[0]
        method = one_step(context, False)
        return method.rise(context.model, context.items[[track]], direction, context.bank).numpy()


class _EkfacTap(Tap):
    """Products with all clips' EK-FAC steps, by replicate and half."""

    def __init__(self, method: UnlearningEkfac, context: Context) -> None:
        self.method, self.context, self.source = method, context, clip_directions(context, False)
        key = fingerprint(self.source.key, context.config.bank, method.record())
        super().__init__("products-ekfac", key, track_kind(context), parameters(context))
        self.steps: tuple[torch.Tensor, torch.Tensor] | None = None

    def prepare(self) -> None:
        self.source.ensure()
        stored = len(self.context.stored)
        halves = [self._step(number, "halves") for number in range(stored)]
        cohort = [self._step(stored + number, "windows") for number in range(self.source.cohort)]
        self.steps = torch.cat(halves), torch.cat(cohort)

    def _step(self, number: int, what: str) -> torch.Tensor:
        return self.method.step(self.context, torch.from_numpy(self.source.kept(number)[what]))

    def take(self, rows: torch.Tensor, losses: torch.Tensor) -> Arrays:
        assert self.steps is not None
        means = by_replicate(rows, self.context.bank.replicates)
        return {
            "cells": dot(means, self.steps[0]).numpy(),
            "cohort": dot(means.mean(0, keepdim=True), self.steps[1])[0].numpy(),
        }

    def release(self) -> None:
        self.steps = None

    def seconds(self, cache: Cache) -> float:
        return self.source.seconds() + cache.read_seconds(self.method._entry(self.context))

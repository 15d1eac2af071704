"""What gradient methods share: products with the clips' gradients, and sketches.

The clips' gradients are at hand as unlearning's one-step directions s F^-1 u. Any other linear score u'Mg of a track's
gradient g is their product with (M F / s) g, so one set of directions serves all methods; a track's cells are first
averaged over the strata, which the other methods do not store apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.config.run import fingerprint
from precompute.gradients.directions import Directions, Tap, dot
from precompute.gradients.fisher import count, inverse
from precompute.gradients.per_item import Kind, of_clip
from precompute.gradients.sketches import Sketch
from precompute.methods.base import Context, MethodResult
from precompute.methods.unlearning import HALVES, MASKED, Unlearning, ascent_bank


def one_step(context: Context, normalised: bool) -> Unlearning:
    """Unlearning by one step with the run's settings: whose directions hold the clips' gradients."""
    section = replace(
        context.config.unlearning, steps=1, relative_step=0.0, pull_back=True, normalise_timesteps=normalised
    )
    return Unlearning(section, len(context.trained))


def clip_directions(context: Context, normalised: bool) -> Directions:
    """The directions of `one_step`: one object for all methods, unlearning itself included."""
    return one_step(context, normalised).tap(context).directions


def track_kind(context: Context, normalised: bool = False, objective: str = "loss") -> Kind:
    """The gradient of a track that the run's settings name."""
    return Kind(objective, context.layers, normalised, MASKED[context.config.unlearning.mask][1])


def clip_kind(context: Context, normalised: bool = False, objective: str = "loss") -> Kind:
    """The gradient of a clip that the run's settings name."""
    return Kind(objective, context.layers, normalised, MASKED[context.config.unlearning.mask][0])


def parameters(context: Context) -> int:
    """P"""
    return context.once("parameters", lambda: count(context.model.parameters(context.layers)))


def by_replicate(rows: torch.Tensor, replicates: int) -> torch.Tensor:
    """Cells [R x S, P] -> their means over the strata [R, P]."""
    return rows.unflatten(0, (replicates, -1)).mean(1)


class ProductTap(Tap):
    """u'Mg for every clip's gradient u and a diagonal M, by replicate and half."""

    def __init__(
        self, context: Context, diagonal: Callable[[], torch.Tensor | float], name: Any, normalised: bool
    ) -> None:
        """`diagonal`: of M, made when needed; `name`: all that it depends on."""
        self.context, self.diagonal = context, diagonal
        self.directions = clip_directions(context, normalised)
        key = fingerprint(self.directions.key, context.config.bank, name)
        super().__init__("products", key, track_kind(context, normalised), parameters(context))
        self.scale = one_step(context, normalised).scale
        self.weight: torch.Tensor | None = None

    def prepare(self) -> None:
        self.directions.load()
        self.weight = self.diagonal() / (self.scale * self.context.inverse_fisher())

    def take(self, rows: torch.Tensor, losses: torch.Tensor) -> Arrays:
        detailed, summed = self.directions.load()
        weighted = by_replicate(rows, self.context.bank.replicates) * self.weight
        cohort = summed[len(summed) - self.directions.cohort :]
        return {
            "cells": dot(weighted, detailed).numpy(),
            "cohort": dot(weighted.mean(0, keepdim=True), cohort)[0].numpy(),
        }

    def release(self) -> None:
        self.directions.release()
        self.weight = None

    def seconds(self, cache: Cache) -> float:
        return self.directions.seconds()


def products(context: Context, kept: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """What a `ProductTap` kept -> cells [Q, N, R, HALVES] and cohort [K, N]."""
    cells = kept["cells"]  # [N, R, Q x HALVES]
    return cells.reshape(*cells.shape[:2], -1, HALVES).transpose(2, 0, 1, 3), kept["cohort"].T


def linear_result(cells: np.ndarray, cohort: np.ndarray) -> MethodResult:
    """[Q, N, R, HALVES] and [K, N] -> a result without strata."""
    return MethodResult(np.ascontiguousarray(cells[:, :, :, None, :]), np.ascontiguousarray(cohort))


def diagonal_inverse(context: Context, damping: float) -> torch.Tensor | float:
    """Diagonal of (F + damping x mean F)^-1; 0 = no curvature at all: 1."""
    return inverse(context.fisher(), damping) if damping else 1.0


class SketchTap(Tap):
    """Sketches of a track's gradient by replicate, and its losses by cell."""

    def __init__(self, context: Context, kind: Kind, width: int, seed: int, whitened: bool) -> None:
        self.context, self.width, self.seed, self.whitened = context, width, seed, whitened
        settings = (kind, width, seed, context.config.fisher if whitened else None)
        key = fingerprint(context.track_key, context.config.bank, settings)
        super().__init__(f"sketches-{kind.objective}", key, kind, parameters(context))
        self.sketch: Sketch | None = None
        self.weight: torch.Tensor | None = None

    def prepare(self) -> None:
        self.sketch = sketch_of(self.context, self.width, self.seed)
        self.weight = self.context.inverse_fisher().sqrt() if self.whitened else None

    def take(self, rows: torch.Tensor, losses: torch.Tensor) -> Arrays:
        assert self.sketch is not None
        sketches = self.sketch(by_replicate(rows, self.context.bank.replicates), self.weight)
        return {"sketches": sketches.numpy(), "losses": losses.numpy()}

    def release(self) -> None:
        self.sketch = self.weight = None


def sketch_of(context: Context, width: int, seed: int) -> Sketch:
    """The projection itself, made once."""
    return context.once(f"sketch-{width}-{seed}", lambda: Sketch(parameters(context), width, seed))


def clip_sketches(context: Context, kind: Kind, width: int, seed: int, whitened: bool) -> tuple[np.ndarray, np.ndarray]:
    """Sketches of all clips' gradients over their own draws: [Q, HALVES, k]; the cohort's over both halves [K, k]."""
    model, cache = context.model, context.cache
    bank = ascent_bank(context.config.unlearning)
    settings = (kind, width, seed, context.config.fisher if whitened else None, vars(bank))
    key = fingerprint(context.key, settings)
    clips, scale = context.clips, one_step(context, kind.normalised).scale
    at_hand = clip_directions(context, kind.normalised) if kind.objective == "loss" else None
    if at_hand is not None:
        at_hand.ensure()

    def gradients(number: int) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Rows [HALVES or 1, P] and what they are to be multiplied with."""
        inverse_fisher = context.inverse_fisher() if whitened or at_hand else None
        weight = inverse_fisher.sqrt() if whitened else 1.0
        if at_hand is None:
            return of_clip(model, context.clip(*clips[number]), kind, bank), weight
        arrays = at_hand.kept(number)
        rows = arrays["halves"] if len(arrays["halves"]) else arrays["windows"]
        return torch.from_numpy(rows), weight / (scale * inverse_fisher)

    def kept(number: int) -> Arrays:
        def compute() -> Arrays:
            rows, weight = gradients(number)
            return {"sketch": sketch_of(context, width, seed)(rows * weight).numpy()}

        return cache.get(Entry(f"clip-sketch-{kind.objective}", key, number), compute)

    missing = [n for n in range(len(clips)) if not cache.has(Entry(f"clip-sketch-{kind.objective}", key, n))]
    if missing:
        sketch_of(context, width, seed)
        workers = count_workers(model.device, parameters(context))
        run_jobs(f"sketches of clips ({kind.objective})", missing, kept, workers, cache)
    rows = [kept(number)["sketch"] for number in range(len(clips))]
    stored = len(context.stored)
    cohort = np.array([row.mean(0) for row in rows[stored:]]).reshape(-1, width)
    return np.stack(rows[:stored]), cohort

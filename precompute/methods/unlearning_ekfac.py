"""Unlearning with EK-FAC curvature in place of the diagonal Fisher (AbU+ in arXiv 2511.10721).

With labels sampled from the model the curvature is that of the output, Gauss-Newton (arXiv 2410.13850); with observed
ones the empirical Fisher of AbU+.

The one step is (alpha/N) (K + damping)^-1 grad L(clip) with K in Kronecker factors (`gradients/ekfac.py`), over the
Linear layers of the run's layer group; a track's score is its gradient's product with it. Draws and masks are
unlearning's. Clips are preconditioned, not tracks: there are fewer of them.
"""

from __future__ import annotations

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.config.run import fingerprint
from precompute.gradients.context import Context
from precompute.gradients.directions import LoadedDirections
from precompute.gradients.ekfac import Ekfac, find_linear_layers, fit_ekfac
from precompute.gradients.steps import make_one_step
from precompute.gradients.taps import ProductTap, Tap, arrange_products
from precompute.methods.base import GradientMethod, MethodResult


class UnlearningEkfac(GradientMethod):
    """Unlearning, EK-FAC curvature."""

    name = "unlearning-ekfac"
    label = "Unlearning, EK-FAC"
    description = "Unlearning whose step knows how the model's weights act together, not one by one."
    cost = "two passes over the training tracks for the curvature, then as unlearning"
    has_moments = True

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """Products with every clip's step."""
        name = f"ekfac-{fingerprint(self.describe_settings())}"
        return {"products": context.make_once(name, lambda: EkfacTap(self, context))}

    def combine(self, context: Context, recorded: dict[str, Arrays]) -> MethodResult:
        """Arrange the products, which are the scores."""
        return MethodResult.without_strata(*arrange_products(recorded["products"]))

    def load_curvature(self, context: Context) -> Ekfac:
        """Fit the curvature in Kronecker factors, or take it from the cache; once in a run."""
        entry, settings, rows = self.name_entry(context), self.settings, context.trained
        t_low = context.config.fisher.t_low

        def compute() -> Arrays:
            return fit_ekfac(context.model, context.items[rows], context.layers, settings, t_low, label="EK-FAC")

        layers = find_linear_layers(context.model, context.layers)
        return context.make_once(
            f"{entry}-{settings.damping}",
            lambda: Ekfac(layers, context.cache.get(entry, compute), settings.damping),
        )

    def name_entry(self, context: Context) -> Entry:
        """The curvature's name in the cache."""
        settings = self.settings
        fitted = (settings.draws, settings.tracks, settings.labels, settings.seed, context.config.fisher.t_low)
        return Entry("ekfac", fingerprint(context.track_key, context.layers, *fitted))

    def precondition(self, context: Context, directions: torch.Tensor) -> torch.Tensor:
        """Unlearning's directions [n, P] with this curvature in place of the diagonal one."""
        return self.load_curvature(context).solve(directions / context.load_inverse_fisher())

    def compute_moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        """Differentiate in forward mode along the clip's step."""
        step = make_one_step(context)
        direction = self.precondition(context, step.share_directions(context).average_halves(clip)[None])[0]
        return step.compute_moments(context.model, context.items[[track]], direction, context.bank).numpy()


class EkfacTap(ProductTap):
    """Products with all clips' EK-FAC steps, by replicate and half."""

    def __init__(self, method: UnlearningEkfac, context: Context) -> None:
        self.method, self.context, self.replicates = method, context, context.bank.replicates
        self.source = make_one_step(context).share_directions(context)
        key = fingerprint(self.source.key, context.config.bank, method.describe_settings())
        super().__init__("ekfac-products", key, context.choose_track_kind(), context.parameter_count)
        self.steps: LoadedDirections | None = None

    def prepare(self) -> None:
        """Precondition the clips' gradients, which unlearning's directions hold."""
        self.source.ensure()
        stored = len(self.context.stored)
        halves = [self._precondition(number, "halves") for number in range(stored)]
        cohort = [self._precondition(stored + number, "windows") for number in range(self.source.cohort)]
        self.steps = LoadedDirections(torch.cat(halves), torch.cat(cohort))

    def _precondition(self, number: int, part: str) -> torch.Tensor:
        return self.method.precondition(self.context, torch.from_numpy(self.source.load_clip(number)[part]))

    def load_directions(self) -> LoadedDirections:
        """The steps, made by `prepare`."""
        if self.steps is None:
            raise RuntimeError("prepare the tap first")
        return self.steps

    def release(self) -> None:
        """Give the steps' memory back."""
        self.steps = None

    def read_seconds(self, cache: Cache) -> float:
        """Seconds that directions and curvature took."""
        return self.source.read_seconds() + cache.read_seconds(self.method.name_entry(self.context))

"""The diagonal curvature of the training loss as a run keeps it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from precompute.common.cache import Cache, Entry
from precompute.common.progress import progress
from precompute.config.run import RunConfig, fingerprint
from precompute.gradients.fisher import diagonal_fisher, inverse
from precompute.model.diffusion import Items, Model


def preconditioner(model: Model, tracks: Items, config: RunConfig, cache: Cache, key: str) -> torch.Tensor:
    """1 / (damped diagonal Fisher of the training tracks), [P]."""
    return inverse(kept_fisher(model, tracks, config, cache, key), config.fisher.damping)


def kept_fisher(model: Model, tracks: Items, config: RunConfig, cache: Cache, key: str) -> torch.Tensor:
    """The diagonal itself, before damping, [P]."""

    def compute() -> dict[str, np.ndarray]:
        reporter = Reporter("Fisher")
        return {"fisher": diagonal_fisher(model, tracks, config.unlearning.layers, config.fisher, reporter).numpy()}

    key = fingerprint(key, config.fisher, config.unlearning.layers)
    return torch.from_numpy(cache.get(Entry("fisher", key), compute)["fisher"])


class Reporter:
    """Turns a (done, of) callback into the run's progress lines."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.lines: Any = None

    def __call__(self, done: int, of: int) -> None:
        if self.lines is None:
            self.lines = progress(self.what, range(of))
            next(self.lines)
        next(self.lines, None)

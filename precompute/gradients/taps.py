"""Records of every track's gradients, made during the pass: products with clips' directions, or sketches.

A tap sees each track's gradients once, [R x S, P], one row per cell of the bank; what it gives is stacked over the N
tracks. Two methods that ask for the same tap share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.common.parallel import count_workers, run_jobs
from precompute.config.run import fingerprint
from precompute.gradients.context import Context
from precompute.gradients.directions import HALVES, Directions, DiskRows, LoadedDirections, multiply_each
from precompute.gradients.fisher import invert_fisher
from precompute.gradients.flat_vectors import average_strata
from precompute.gradients.item_gradients import CellGradients, GradientKind
from precompute.gradients.sketches import Sketch
from precompute.gradients.steps import UnlearningStep, make_ascent_bank, make_one_step


class Tap:
    """Makes a record of every track's gradients. Subclasses give `record`, or `take` for several tracks at once."""

    def __init__(self, stage: str, key: str, kind: GradientKind, parameters: int) -> None:
        """`stage` and `key`: its names in the cache, by all that it depends on; `parameters`: P."""
        self.stage, self.key, self.kind, self.parameters = stage, key, kind, parameters

    def prepare(self) -> None:
        """Load what `take` needs; called before the first track that is missing."""

    def take(self, tracks: Sequence[CellGradients]) -> list[Arrays]:
        """Arrays of each of several tracks whose gradients are in memory."""
        return [self.record(track) for track in tracks]

    def record(self, track: CellGradients) -> Arrays:
        """Arrays of one track."""
        raise NotImplementedError

    @property
    def reads_from_disk(self) -> bool:
        """True where several tracks at once cost less: directions are then read from disk for all of them."""
        return False

    def release(self) -> None:
        """Give memory back."""

    def read_seconds(self, cache: Cache) -> float:
        """Seconds that the clips' side took."""
        return 0.0


class ProductTap(Tap):
    """Products of each track's gradients with directions of the clips, float64.

    `cells` [rows, Q x HALVES]: of the rows that `reduce` gives; `sums`: of the rows' mean with directions over both
    halves. Subclasses say which directions, and may reduce the rows otherwise.
    """

    replicates: int  # R

    def load_directions(self) -> LoadedDirections:
        """The directions, in memory or on disk; `prepare` was called."""
        raise NotImplementedError

    def reduce(self, rows: torch.Tensor) -> torch.Tensor:
        """Gradients by cell [R x S, P] -> the rows that are multiplied: [R, P], means over the strata."""
        return average_strata(rows, self.replicates)

    def take(self, tracks: Sequence[CellGradients]) -> list[Arrays]:
        """`cells` and `sums` of each track."""
        directions = self.load_directions()
        rows = [self.reduce(track.rows) for track in tracks]
        cells = multiply_each(rows, directions.halves)
        sums = multiply_each([own.mean(0, keepdim=True) for own in rows], directions.sums)
        return [{"cells": c.numpy(), "sums": s[0].numpy()} for c, s in zip(cells, sums, strict=True)]

    @property
    def reads_from_disk(self) -> bool:
        """True where the directions do not fit into memory."""
        return isinstance(self.load_directions().halves, DiskRows)


class StepTap(ProductTap):
    """Products by cell of the noise bank with the directions as they are, windows of the clips included."""

    def __init__(self, directions: Directions, kind: GradientKind, key: str) -> None:
        super().__init__("scores", key, kind, directions.parameters)
        self.directions = directions

    def prepare(self) -> None:
        """Load the directions."""
        self.directions.load()

    def load_directions(self) -> LoadedDirections:
        """The directions as they are, windows included."""
        return self.directions.load()

    def reduce(self, rows: torch.Tensor) -> torch.Tensor:
        """Every cell for itself."""
        return rows

    def release(self) -> None:
        """Give the directions' memory back."""
        self.directions.release()

    def read_seconds(self, cache: Cache) -> float:
        """Seconds that the directions took."""
        return self.directions.read_seconds()


class WeightedTap(ProductTap):
    """u'Mg for every clip's gradient u, a track's gradient g and a diagonal M, by replicate and half."""

    def __init__(
        self, context: Context, load_diagonal: Callable[[], torch.Tensor | float], name: Any, normalised: bool
    ) -> None:
        """`load_diagonal`: of M, called when needed; `name`: all that it depends on."""
        self.context, self.load_diagonal = context, load_diagonal
        self.step = make_one_step(context, normalised)
        self.directions, self.replicates = self.step.share_directions(context), context.bank.replicates
        key = fingerprint(self.directions.key, context.config.bank, name)
        super().__init__("weighted-products", key, context.choose_track_kind(normalised), context.parameter_count)
        self.weight: torch.Tensor | float = 1.0

    def prepare(self) -> None:
        """Load the directions, which hold s F^-1 u, and M F / s."""
        self.directions.load()
        self.weight = self.load_diagonal() / (self.step.scale * self.context.load_inverse_fisher())

    def load_directions(self) -> LoadedDirections:
        """Directions of the stored clips by half, and of the cohort's clips; no windows."""
        halves, sums = self.directions.load()
        first, end = len(sums) - self.directions.cohort, len(sums)
        return LoadedDirections(halves, sums.select_rows(first, end) if isinstance(sums, DiskRows) else sums[first:])

    def reduce(self, rows: torch.Tensor) -> torch.Tensor:
        """Means over the strata, weighted: [R, P]."""
        return super().reduce(rows) * self.weight

    def release(self) -> None:
        """Give the directions' memory back."""
        self.directions.release()
        self.weight = 1.0

    def read_seconds(self, cache: Cache) -> float:
        """Seconds that the directions took."""
        return self.directions.read_seconds()


class SketchTap(Tap):
    """Sketches of a track's gradient by replicate, and its losses by cell."""

    def __init__(self, context: Context, kind: GradientKind, width: int, seed: int, whitened: bool) -> None:
        self.context, self.width, self.seed, self.whitened = context, width, seed, whitened
        settings = (kind, width, seed, context.config.fisher if whitened else None)
        key = fingerprint(context.track_key, context.config.bank, settings)
        super().__init__(f"sketches-{kind.objective}", key, kind, context.parameter_count)
        self.weight: torch.Tensor | None = None

    def prepare(self) -> None:
        """Make the projection and the weights F^-1/2."""
        share_sketch(self.context, self.width, self.seed)
        self.weight = self.context.load_inverse_fisher().sqrt() if self.whitened else None

    def record(self, track: CellGradients) -> Arrays:
        """`sketches` [R, k] float32, `losses` [R x S] float64."""
        sketch = share_sketch(self.context, self.width, self.seed)
        sketches = sketch(average_strata(track.rows, self.context.bank.replicates), self.weight)
        return {"sketches": sketches.numpy(), "losses": track.losses.numpy()}

    def release(self) -> None:
        """Give the weights' memory back."""
        self.weight = None


def make_step_tap(context: Context, step: UnlearningStep) -> StepTap:
    """The tap of unlearning by any number of steps, whose products `UnlearningStep.arrange_scores` reads."""
    directions = step.share_directions(context)
    return StepTap(directions, step.kind, fingerprint(directions.key, context.config.bank))


def arrange_products(products: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of a `ProductTap` by replicate, stacked over N tracks -> cells [Q, N, R, HALVES] and cohort [K, N]."""
    cells = products["cells"]  # [N, R, Q x HALVES]
    return cells.reshape(*cells.shape[:2], -1, HALVES).transpose(2, 0, 1, 3), products["sums"].T


def load_inverse_diagonal(context: Context, damping: float) -> torch.Tensor | float:
    """Diagonal of (F + damping x mean F)^-1, [P]; damping 0 = no curvature at all: 1."""
    return invert_fisher(context.load_fisher(), damping) if damping else 1.0


def share_sketch(context: Context, width: int, seed: int) -> Sketch:
    """The projection P -> k, made once."""
    return context.make_once(f"sketch-{width}-{seed}", lambda: Sketch(context.parameter_count, width, seed))


class ClipSketches(NamedTuple):
    """Sketches of all clips' gradients over their own draws, k numbers each."""

    stored: np.ndarray  # [Q, HALVES, k]
    cohort: np.ndarray  # [K, k]: over both halves
    windows: list[np.ndarray]  # of the shown clips: [W, k] over both halves, which sum to the whole


def load_clip_sketches(context: Context, kind: GradientKind, width: int, seed: int, whitened: bool) -> ClipSketches:
    """Sketches of all clips, from the cache where it has them; `whitened`: of F^-1/2 x gradient."""
    model, cache, clips = context.model, context.cache, context.clips
    step = make_one_step(context, kind.normalised, kind.objective)
    settings = (kind, width, seed, context.config.fisher if whitened else None, context.config.unlearning.window_s)
    key = fingerprint(context.key, settings, make_ascent_bank(context.config.unlearning))
    # directions that another method of the run has hold the gradients
    directions = step.share_directions(context) if kind.objective == "loss" else step.find_directions(context)
    if directions is not None:
        directions.ensure()

    def load_rows(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """[HALVES or 0, P] by half, [W, P] by window."""
        of_kind, row = clips[number]
        inverse_fisher = context.load_inverse_fisher() if whitened or directions is not None else torch.ones(())
        weight = inverse_fisher.sqrt() if whitened else torch.ones(())
        if directions is None:
            found = step.compute_clip_gradients(model, context.select_clip(of_kind, row), of_kind == "shown")
            return found.sum(1) * weight, found.mean(0) * weight
        weight = weight / (step.scale * inverse_fisher)
        arrays = directions.load_clip(number)
        return torch.from_numpy(arrays["halves"]) * weight, torch.from_numpy(arrays["windows"]) * weight

    def load(number: int) -> Arrays:
        def compute() -> Arrays:
            sketch = share_sketch(context, width, seed)
            by_half, by_window = load_rows(number)
            return {"halves": sketch(by_half).numpy(), "windows": sketch(by_window).numpy()}

        return cache.get(name_entry(number), compute)

    def name_entry(number: int) -> Entry:
        return Entry(f"clip-sketch-{kind.objective}", key, number)

    missing = [number for number in range(len(clips)) if not cache.has(name_entry(number))]
    if missing:
        share_sketch(context, width, seed)
        workers = count_workers(model.device, context.parameter_count)
        run_jobs(f"sketches of clips ({kind.objective})", missing, load, workers, cache)
    rows, stored, shown = [load(n) for n in range(len(clips))], len(context.stored), len(context.queries.shown)
    return ClipSketches(
        stored=np.stack([row["halves"] for row in rows[:stored]]),
        cohort=np.array([row["windows"].sum(0) for row in rows[stored:]]).reshape(-1, width),
        windows=[row["windows"] for row in rows[:shown]],
    )

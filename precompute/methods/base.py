"""The interface of a method of attribution: clips, tracks, model, noise bank and settings in; scores out.

Conventions: Q clips that are stored (shown, then targets), K clips of the cohort, N tracks in the order of the corpus
(decoys among them), R replicates x S strata of the noise bank, H halves of a clip's own draws. Scores are float64, and
higher = stronger influence, always: a distance is negated in the method, once.

To add one:
1. a module in this folder with a subclass of `Method`: the mathematics and nothing else. Loops over methods, caching,
   errors, normalisation, q-values, ranks and storing are not its business. `Context` (`gradients/context.py`) holds all
   that it sees of the run, and its `cache_piece` keeps what is slow; `Model.frame_loss` and `Model.loss`
   (`model/diffusion.py`) give losses; `passes.score_by_cell` passes over clips and tracks for each cell of the bank.
2. its settings: a frozen dataclass in `config/methods.py` that checks itself (no torch there);
3. a line in `catalogue.py`. It is then listed by `python -m precompute methods`, may be named in `[methods] run`, and
   is set by a section `[methods.NAME]`.
4. tests: a naive twin or closed form on the tiny model; an exact duplicate of a track is first; order changes nothing.
A method that works on tracks' gradients derives from `GradientMethod`, so that a track's gradient is computed once for
all of them; `gradients/taps.py` has what such methods share.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from precompute.common.cache import Arrays
from precompute.config.run import RunConfig, fingerprint
from precompute.gradients.context import Context
from precompute.gradients.taps import Tap
from precompute.gradients.track_pass import gather


@dataclass(frozen=True)
class MethodResult:
    """Raw scores of all clips; what normalises and judges them follows from these alone."""

    cells: np.ndarray  # [Q, N, R, S, H]: partial scores with the score as mean; [Q, N, 1, 1, 1] where nothing is drawn
    cohort: np.ndarray  # [K, N]: scores of the cohort's clips
    windows: np.ndarray | None = None  # [Q shown, N, W]: parts by window of the clip, summing to it; NaN past its end
    remarks: tuple[tuple[str, float, str], ...] = ()  # further diagnostics: (name, value, one plain clause of meaning)
    seconds: float | None = None  # of passes of its own, cached ones included; None = what the call took

    @classmethod
    def without_noise(cls, scores: np.ndarray, stored: int) -> MethodResult:
        """From scores [Q + K, N] that no noise was drawn for (their standard error is 0); `stored`: Q."""
        scores = np.asarray(scores, np.float64)
        return cls(scores[:stored, :, None, None, None], scores[stored:])

    @classmethod
    def without_strata(cls, cells: np.ndarray, cohort: np.ndarray) -> MethodResult:
        """From partial scores [Q, N, R, H] that are means over the strata, and [K, N]."""
        return cls(np.ascontiguousarray(cells[:, :, :, None, :]), np.ascontiguousarray(cohort))

    @property
    def score(self) -> np.ndarray:
        """[Q, N]"""
        return self.cells.mean((2, 3, 4))

    def check(self, context: Context) -> None:
        """Raises ValueError where shapes do not fit, or a number is not finite."""
        clips, tracks = len(context.stored), len(context.items)
        if self.cells.ndim != 5 or self.cells.shape[:2] != (clips, tracks):
            raise ValueError(f"cells of shape {self.cells.shape} for {clips} clips and {tracks} tracks")
        if self.cohort.shape != (len(context.queries.cohort), tracks):
            raise ValueError(f"cohort of shape {self.cohort.shape} for {tracks} tracks")
        if not (np.isfinite(self.cells).all() and np.isfinite(self.cohort).all()):
            raise ValueError("it gave scores that are not finite")


class Method:
    """A way of scoring. Subclasses set the class attributes and `compute_scores`."""

    name: ClassVar[str]
    label: ClassVar[str]  # for the page
    description: ClassVar[str]  # one plain sentence for the page
    cost: ClassVar[str]  # "one gradient a track, shared"
    needs: ClassVar[str] = "nothing beyond the run's model"  # checkpoint, packages, checkpoints of training, audio
    has_moments: bool = False  # True where `compute_moments` gives influence over time in the track
    version: ClassVar[int] = 1  # count up when results change: old caches are then left alone

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @classmethod
    def create(cls, settings: Any, config: RunConfig, tracks: int) -> Method:
        """For a run; `tracks` is the number of training tracks."""
        return cls(settings)

    def describe_settings(self) -> dict[str, Any]:
        """The settings, for the store and the cache's names: all that a result depends on beside the context."""
        return asdict(self.settings)

    def focus(self, context: Context) -> Context:
        """The context for this method: what it caches is named by its settings, too."""
        key = fingerprint(context.key, context.config.bank, self.name, self.version, self.describe_settings())
        return replace(context, method=self.name, method_key=key)

    def builds_on(self, name: str) -> bool:
        """True if `compute_scores` takes the results of the method of that name, where it is part of the run."""
        return False

    def find_obstacle(self, context: Context) -> str | None:
        """Why it cannot run here, in one plain clause naming the file or package; None = it can. Quick."""
        return None

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Scores of all clips and tracks. `others`: results of the methods that it builds on.

        May raise UserError: the method is then skipped with that reason, the other methods go on.
        """
        raise NotImplementedError

    def compute_moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        """Influence over time in the track, [F] float64, its mean being the score; for a shown clip and a track row."""
        raise NotImplementedError


class GradientMethod(Method):
    """A method that looks at every track's gradients. All such methods of a run see them in one pass."""

    cost = "one gradient a track and draw, shared by all gradient methods"

    def make_taps(self, context: Context) -> dict[str, Tap]:
        """The records that it needs of every track, by name."""
        raise NotImplementedError

    def combine(self, context: Context, recorded: dict[str, Arrays]) -> MethodResult:
        """Scores from what the taps gave, stacked over the N tracks."""
        raise NotImplementedError

    def compute_scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Combine the records of a pass over the tracks."""
        return self.combine(context, self.gather_records(context))

    def gather_records(self, context: Context) -> dict[str, Arrays]:
        """What the taps gave, from a pass over the tracks for whatever is not cached."""
        taps = self.make_taps(context)
        recorded = gather(context.model, context.items, context.bank, list(taps.values()), context.cache)
        return {name: recorded[tap.stage, tap.key] for name, tap in taps.items()}

"""What a method of attribution is: clips, tracks, model, noise bank and settings in; scores out.

Conventions: Q clips that are stored (shown, then targets), K clips of the cohort, N tracks in the order of the corpus
(decoys among them), R replicates x S strata of the noise bank, H halves of a clip's own draws. Scores are float64, and
higher = stronger influence, always: a distance is negated in the method, once.

To add one:
1. a module in this folder with a subclass of `Method`: the mathematics and nothing else. Loops over methods, caching,
   errors, normalisation, q-values, ranks and storing are not its business; `Context.kept` is for what takes long.
2. its settings: a frozen dataclass in `settings.py` that checks itself (no torch there);
3. a line in `catalogue.py`. It is then listed by `python -m precompute methods`, may be named in `[methods] run`, and
   is set by a section `[methods.NAME]`.
4. tests: a naive twin or closed form on the tiny model; an exact duplicate of a track is first; order changes nothing.
A method that works on tracks' gradients derives from `GradientMethod`, so that a track's gradient is taken once for all
of them; `taps.py` has what such methods share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.config.run import RunConfig, fingerprint
from precompute.corpus.audio import read_audio
from precompute.corpus.tracks import Track
from precompute.gradients.curvature import kept_fisher
from precompute.gradients.directions import Tap
from precompute.gradients.fisher import inverse
from precompute.model.diffusion import Items, Model, NoiseBank

KINDS = ("shown", "targets", "cohort")


@dataclass(frozen=True)
class Queries:
    """The clips of a run, in three kinds that need different detail."""

    shown: Items  # generated clips: standard errors, windows
    targets: Items  # training tracks unlearned themselves: standard errors
    cohort: Items  # further generated clips: scores alone


@dataclass(frozen=True)
class MethodResult:
    """Raw scores of all clips; what normalises and judges them follows from these alone."""

    cells: np.ndarray  # [Q, N, R, S, H]: partial scores with the score as mean; [Q, N, 1, 1, 1] where nothing is drawn
    cohort: np.ndarray  # [K, N]: scores of the cohort's clips
    windows: np.ndarray | None = None  # [Q shown, N, W]: parts by window of the clip, summing to it; NaN past its end
    remarks: tuple[tuple[str, float, str], ...] = ()  # further diagnostics: (name, value, one plain clause of meaning)
    seconds: float | None = None  # of passes of its own, kept ones included; None = what the call took

    @classmethod
    def deterministic(cls, scores: np.ndarray, cohort: np.ndarray) -> MethodResult:
        """From scores [Q, N] and [K, N] that no noise was drawn for: their standard error is 0."""
        return cls(np.asarray(scores, np.float64)[:, :, None, None, None], np.asarray(cohort, np.float64))

    @property
    def score(self) -> np.ndarray:
        """[Q, N]"""
        return self.cells.mean((2, 3, 4))

    def check(self, context: Context) -> None:
        """Raises ValueError where shapes do not fit, or a number is not finite."""
        clips, tracks = len(context.queries.shown) + len(context.queries.targets), len(context.items)
        if self.cells.ndim != 5 or self.cells.shape[:2] != (clips, tracks):
            raise ValueError(f"cells of shape {self.cells.shape} for {clips} clips and {tracks} tracks")
        if self.cohort.shape != (len(context.queries.cohort), tracks):
            raise ValueError(f"cohort of shape {self.cohort.shape} for {tracks} tracks")
        if not (np.isfinite(self.cells).all() and np.isfinite(self.cohort).all()):
            raise ValueError("it gave scores that are not finite")


@dataclass(frozen=True)
class Context:
    """All that a method may look at. Nothing in it is to be changed."""

    model: Model
    tracks: Sequence[Track]  # [N]; `is_decoy` tells which the model never heard
    items: Items  # [N]: latents and conditions of `tracks`
    queries: Queries
    target_rows: np.ndarray  # [T] int: rows of `tracks` that `queries.targets` are
    bank: NoiseBank  # the draws that every track is scored under
    config: RunConfig
    cache: Cache
    key: str  # names model, tracks and clips by content
    track_key: str  # names model and tracks by content
    memo: dict[str, Any] = field(default_factory=dict, repr=False)  # what methods share in memory; see `once`
    scope: str = ""  # the method that this context is for; set by `of`

    @property
    def trained(self) -> list[int]:
        """Rows of the training tracks: curvature, bases and normalisation may see these alone."""
        return [row for row, track in enumerate(self.tracks) if not track.is_decoy]

    @property
    def stored(self) -> list[tuple[str, int]]:
        """(kind, row) of the Q clips whose scores are stored."""
        return [(kind, row) for kind in KINDS[:2] for row in range(len(getattr(self.queries, kind)))]

    @property
    def clips(self) -> list[tuple[str, int]]:
        """(kind, row) of all clips: shown, targets, cohort."""
        return self.stored + [("cohort", row) for row in range(len(self.queries.cohort))]

    def clip(self, kind: str, row: int) -> Items:
        """One clip, as items of length 1."""
        return getattr(self.queries, kind)[[row]]

    @property
    def decoded(self) -> bool:
        """Whether tracks are heard through the autoencoder: where one has no audio, all are, so that all are alike."""
        return any(track.path is None for track in self.tracks)

    def audio(self, kind: str, row: int, rate: int | None = None) -> tuple[np.ndarray, int]:
        """Samples [channels, T] float32 of true length, and their rate in hertz; read or decoded when asked for.

        `kind`: "tracks", "shown", "targets" or "cohort"; `rate`: resampled to it, None = the model's. Clips are decoded
        from their latents; tracks and targets too where `decoded` says so, else read from their files, at most as long
        as the model's window. Raises AudioError where a file cannot be read.
        """
        if kind == "targets":
            kind, row = "tracks", int(self.target_rows[row])
        items = self.items if kind == "tracks" else getattr(self.queries, kind)
        length = max(1, round(float(items.seconds[row]) * self.model.sample_rate))
        path = self.tracks[row].path if kind == "tracks" else None
        if path is None or self.decoded:
            wave = self.model.decode(items.latents[row])
        else:
            wave = read_audio(path, self.model.sample_rate, self.model.channels)
        wave = np.ascontiguousarray(wave[:, :length])
        if rate is None or rate == self.model.sample_rate:
            return wave, self.model.sample_rate
        import soxr

        return np.ascontiguousarray(soxr.resample(wave.T, self.model.sample_rate, rate, quality="HQ").T), rate

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returns, made once for all methods of this context; large things come under the same name."""
        if name not in self.memo:
            self.memo[name] = make()
        return self.memo[name]

    @property
    def layers(self) -> str:
        """The layer group of all gradient methods: that of `[unlearning]`."""
        return self.config.unlearning.layers

    def fisher(self) -> torch.Tensor:
        """Diagonal Fisher of the training tracks, before damping, [P]."""
        rows = self.trained
        return self.once(
            "fisher", lambda: kept_fisher(self.model, self.items[rows], self.config, self.cache, self.track_key)
        )

    def inverse_fisher(self) -> torch.Tensor:
        """1 / (damped diagonal Fisher), [P]."""
        return self.once("inverse-fisher", lambda: inverse(self.fisher(), self.config.fisher.damping))

    def of(self, method: Method) -> Context:
        """The same for one method: what it keeps is named by its settings, too."""
        key = fingerprint(self.key, self.config.bank, method.name, method.version, method.record())
        return replace(self, scope=f"{method.name}-{key}")

    def kept(self, what: str, compute: Callable[[], Arrays]) -> Arrays:
        """Arrays kept by the content of all that this method depends on: computed once, also over killed runs.

        `what` names the piece: "clip-0003". Costs of pieces are measured and added up.
        """
        name, key = self.scope.rsplit("-", 1)
        return self.cache.get(Entry(name, key, part=what), compute)


class Method:
    """A way of scoring. Subclasses set the class attributes and `scores`."""

    name: ClassVar[str]
    label: ClassVar[str]  # for the page
    description: ClassVar[str]  # one plain sentence for the page
    cost: ClassVar[str]  # "one gradient a track, shared"
    needs: ClassVar[str] = "nothing beyond the run's model"  # checkpoint, packages, checkpoints of training, audio
    has_moments: bool = False  # whether `moments` gives influence over time in the track
    version: ClassVar[int] = 1  # count up when results change: old caches are then left alone

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @classmethod
    def create(cls, settings: Any, config: RunConfig, tracks: int) -> Method:
        """For a run; `tracks` is the number of training tracks."""
        return cls(settings)

    def record(self) -> dict[str, Any]:
        """The settings, for the store and the cache's names: all that a result depends on beside the context."""
        return asdict(self.settings)

    def builds_on(self, name: str) -> bool:
        """Whether `scores` wants the results of the method of that name, where it is part of the run."""
        return False

    def requirements(self, context: Context) -> str | None:
        """Why it cannot run here, in one plain clause naming the file or package; None = it can. Quick."""
        return None

    def scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        """Scores of all clips and tracks. `others`: results of the methods that it builds on.

        May raise UserError: the method is then left out with that reason, the other methods go on.
        """
        raise NotImplementedError

    def moments(self, context: Context, clip: int, track: int) -> np.ndarray:
        """Influence over time in the track, [F] float64, its mean being the score; for a shown clip and a track row."""
        raise NotImplementedError


class GradientMethod(Method):
    """A method that looks at every track's gradients. All such methods of a run see them in one pass."""

    cost = "one gradient a track and draw, shared by all gradient methods"
    needs = "nothing beyond the run's model"

    def taps(self, context: Context) -> dict[str, Tap]:
        """What is kept of every track, under names of its own."""
        raise NotImplementedError

    def combine(self, context: Context, kept: dict[str, Arrays]) -> MethodResult:
        """From what the taps took, stacked over the N tracks: scores."""
        raise NotImplementedError

    def scores(self, context: Context, others: dict[str, MethodResult]) -> MethodResult:
        from precompute.gradients.track_pass import gather

        taps = self.taps(context)
        found = gather(context.model, context.items, context.bank, list(taps.values()), context.cache)
        return self.combine(context, {name: found[tap.stage, tap.key] for name, tap in taps.items()})

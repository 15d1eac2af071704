"""The inputs of a run: model, tracks, clips, noise bank, settings and cache. Nothing in it is to be changed.

N tracks in the order of the corpus, decoys among them; Q clips that are stored (shown, then targets), K clips of the
cohort. "Named by content": a key that changes whenever what it names does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from precompute.common.cache import Arrays, Cache, Entry
from precompute.config.run import BankSection, RunConfig
from precompute.corpus.audio import read_audio
from precompute.corpus.tracks import Track
from precompute.gradients.fisher import invert_fisher, load_fisher
from precompute.gradients.flat_vectors import count_parameters
from precompute.gradients.item_gradients import GradientKind, is_clip_masked, is_track_masked
from precompute.model.diffusion import Items, Model, NoiseBank

CLIP_KINDS = ("shown", "targets", "cohort")
Made = TypeVar("Made")


def make_noise_bank(section: BankSection) -> NoiseBank:
    """The draws that every track is scored under."""
    sizes = (section.replicates, section.strata, section.draws_per_cell)
    return NoiseBank(*sizes, section.seed, section.t_low, section.uncaptioned)


@dataclass(frozen=True)
class Queries:
    """The clips of a run, in three kinds that need different detail."""

    shown: Items  # generated clips: standard errors, windows
    targets: Items  # training tracks unlearned themselves: standard errors
    cohort: Items  # further generated clips: scores alone

    def items(self, kind: str) -> Items:
        """The clips of one of CLIP_KINDS."""
        return {"shown": self.shown, "targets": self.targets, "cohort": self.cohort}[kind]


@dataclass(frozen=True)
class Context:
    """Everything that a method may look at."""

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
    memo: dict[str, Any] = field(default_factory=dict, repr=False)  # what methods share in memory; see `make_once`
    method: str = ""  # the method that this context is for; see `Method.focus`
    method_key: str = ""  # names by content all that this method's results depend on

    @property
    def trained(self) -> list[int]:
        """Rows of the training tracks: curvature, bases and normalisation may see these alone."""
        return [row for row, track in enumerate(self.tracks) if not track.is_decoy]

    @property
    def stored(self) -> list[tuple[str, int]]:
        """(kind, row) of the Q clips whose scores are stored."""
        return [(kind, row) for kind in ("shown", "targets") for row in range(len(self.queries.items(kind)))]

    @property
    def clips(self) -> list[tuple[str, int]]:
        """(kind, row) of all clips: shown, targets, cohort."""
        return self.stored + [("cohort", row) for row in range(len(self.queries.cohort))]

    def select_clip(self, kind: str, row: int) -> Items:
        """One clip, as items of length 1."""
        return self.queries.items(kind)[[row]]

    # -- sound -------------------------------------------------------------------------------------------------------

    @property
    def is_decoded(self) -> bool:
        """True where tracks are heard through the autoencoder: if one has no audio, all are, so that all are alike."""
        return any(track.path is None for track in self.tracks)

    def load_audio(self, kind: str, row: int, rate: int | None = None) -> tuple[np.ndarray, int]:
        """Samples [channels, T] float32 of true length, and their rate in hertz.

        `kind`: "tracks", "shown", "targets" or "cohort"; `rate`: resampled to it, None = the model's. Clips are decoded
        from their latents; tracks and targets too where `is_decoded`, else read from their files, at most as long as
        the model's window. Raises AudioError where a file cannot be read.
        """
        if kind == "targets":
            kind, row = "tracks", int(self.target_rows[row])
        items = self.items if kind == "tracks" else self.queries.items(kind)
        length = max(1, round(float(items.seconds[row]) * self.model.sample_rate))
        path = self.tracks[row].path if kind == "tracks" else None
        if path is None or self.is_decoded:
            wave = self.model.decode(items.latents[row])
        else:
            wave = read_audio(path, self.model.sample_rate, self.model.channels)
        wave = np.ascontiguousarray(wave[:, :length])
        if rate is None or rate == self.model.sample_rate:
            return wave, self.model.sample_rate
        import soxr

        return np.ascontiguousarray(soxr.resample(wave.T, self.model.sample_rate, rate, quality="HQ").T), rate

    # -- shared work -------------------------------------------------------------------------------------------------

    def make_once(self, name: str, make: Callable[[], Made]) -> Made:
        """The object that `make` returns, made once for all methods of this context and shared under one name."""
        if name not in self.memo:
            self.memo[name] = make()
        return self.memo[name]

    def cache_piece(self, piece: str, compute: Callable[[], Arrays]) -> Arrays:
        """Arrays of this context's method, computed once, also over killed runs; `piece` names them: "clip-0003".

        The seconds that pieces took are noted, and added up for the method's cost.
        """
        return self.cache.get(Entry(self.method, self.method_key, part=piece), compute)

    # -- gradients ---------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> str:
        """The layer group of all gradient methods: that of `[unlearning]`."""
        return self.config.unlearning.layers

    @property
    def parameter_count(self) -> int:
        """P: the number of scalars in the layer group."""
        return self.make_once("parameters", lambda: count_parameters(self.model.parameters(self.layers)))

    def choose_track_kind(self, normalised: bool = False, objective: str = "loss") -> GradientKind:
        """The gradient of a track that the run's settings name."""
        return GradientKind(objective, self.layers, normalised, is_track_masked(self.config.unlearning.mask))

    def choose_clip_kind(self, normalised: bool = False, objective: str = "loss") -> GradientKind:
        """The gradient of a clip that the run's settings name."""
        return GradientKind(objective, self.layers, normalised, is_clip_masked(self.config.unlearning.mask))

    def load_fisher(self) -> torch.Tensor:
        """Diagonal Fisher of the training tracks, before damping, [P]."""

        def load() -> torch.Tensor:
            return load_fisher(self.model, self.items[self.trained], self.config, self.cache, self.track_key)

        return self.make_once("fisher", load)

    def load_inverse_fisher(self) -> torch.Tensor:
        """1 / (damped diagonal Fisher), [P]."""
        return self.make_once("inverse-fisher", lambda: invert_fisher(self.load_fisher(), self.config.fisher.damping))


def make_bare_context(
    model: Model, tracks: Sequence[Track], items: Items, queries: Queries, config: RunConfig, cache: Cache, key: str
) -> Context:
    """A context without targets, as for clips that are added or recomputed; `key` names model, tracks and clips."""
    return Context(
        model=model,
        tracks=tracks,
        items=items,
        queries=queries,
        target_rows=np.zeros(0, int),
        bank=make_noise_bank(config.bank),
        config=config,
        cache=cache,
        key=key,
        track_key=key,
    )

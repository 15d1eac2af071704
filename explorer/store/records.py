"""Frozen records that the readers of a store return. Scores: higher = stronger influence; seconds, LUFS, dBFS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class StoreInfo:
    """The version of a store, and where its audio lies."""

    version: int
    track_root: str  # folder of the tracks' audio, relative to the store's folder
    clip_root: str  # folder of the clips' audio, relative to the store's folder
    default_method: str  # name of the method that the page opens with
    note: str | None  # what a reader must know of this run


@dataclass(frozen=True)
class SoundRecord:
    """All that is needed to play and draw one track or clip."""

    duration_s: float
    audio_path: str | None  # relative to track_root, or to clip_root where `of_clip`
    of_clip: bool
    audition: str  # 'full', 'excerpt' or 'none'
    loudness_lufs: float | None
    peak_dbfs: float | None
    peaks: tuple[int, ...]  # largest magnitude per bin over the whole duration, 255 = full scale


@dataclass(frozen=True)
class ClipRecord:
    """A clip: generated, a user's, or a control (a training track unlearned itself)."""

    clip_id: int
    kind: str  # 'generated', 'track' or 'user'
    target_track_id: int | None  # kind 'track': the training track that was unlearned
    prompt: str | None
    seed: int | None
    duration_s: float
    target_title: str | None
    run_id: int = 1  # whose model made it and is asked; 1: the model of most clips
    model_note: str | None = None  # what sets the model of another run apart


@dataclass(frozen=True)
class TrackRecord:
    """A training track or decoy, with its rights."""

    track_id: int
    is_decoy: bool  # for run 1: a model tuned from it may have heard it
    planted: str | None  # a planted case (weighted, rare, …), outside decoy statistics
    title: str
    composer: str
    collection: str
    rights_holder: str
    licence: str  # of composition, encoding and rendering; one name where they agree
    source: str
    instrument: str
    duration_s: float
    audition: str  # 'full', 'excerpt' or 'none'
    has_audio: bool


@dataclass(frozen=True)
class MethodRecord:
    """A way of scoring, its settings and its cost."""

    method_id: int
    name: str
    label: str
    description: str
    has_moments: bool  # whether it has influence over time in a track
    settings_json: str = "{}"
    cost_s: float | None = None  # seconds of the run's device, all clips together; None: not measured
    reliability: float | None = None  # rank correlation of two halves of the draws, -1..1; None: nothing is drawn


@dataclass(frozen=True)
class RunRecord:
    """A run: its model, machine and configuration."""

    model_sha256: str  # of the weights that every score of its clips refers to
    commit_hash: str | None
    device: str
    duration_s: float
    started_at: datetime  # UTC
    config_toml: str  # the run's whole configuration
    versions_json: str  # package -> version


@dataclass(frozen=True)
class TrackMoments:
    """Influence over the length of one track, for one clip."""

    rate_hz: float
    influence: tuple[float, ...]  # value i covers [i, i + 1) / rate_hz seconds of the track


@dataclass(frozen=True)
class ClipMoments:
    """Influence of some tracks over the length of one clip."""

    window_s: float
    influence: dict[int, tuple[float, ...]]  # by track; value i covers [i, i + 1) * window_s seconds of the clip


@dataclass(frozen=True)
class Summary:
    """Concentration and certainty of one clip under one method. Shares lie in 0..1; None: nothing is positive."""

    clip_id: int
    tracks: int  # training tracks that were scored
    decoys: int
    above_noise: int  # training tracks
    candidates: int  # training tracks of the clip's caption or style: those that are tested
    can_tell: bool  # False: decoys are so few that not even a lone track could be above noise
    decoys_top10_raw: int  # among the ten best of all
    decoys_top10_norm: int
    shares_raw: tuple[float | None, float | None, float | None]  # held by the top 1, 10, 100 training tracks
    shares_norm: tuple[float | None, float | None, float | None]
    largest_raw: float  # magnitude of the largest raw score
    auc_norm: float | None  # how often a training track stands above a decoy; 0.5 = chance; None without decoys
    spark: tuple[float, ...]  # normalised scores at log-spaced places of the training tracks, strongest first


@dataclass(frozen=True)
class Diagnostic:
    """A figure that a run measured about one of its own methods."""

    checkpoint_step: int  # training step of the weights; the largest is that of the scores
    name: str
    value: float
    meaning: str


@dataclass(frozen=True)
class SkippedMethod:
    """A method that was asked for and could not run."""

    name: str
    label: str
    reason: str


@dataclass(frozen=True)
class Agreement:
    """Agreement of two methods: means over generated clips, training tracks alone."""

    method_a: int
    method_b: int
    pearson: float  # -1..1
    spearman: float  # -1..1
    top10: float  # 0..1: share of the first ten that both have
    top100: float


@dataclass(frozen=True)
class ScoreSample:
    """Normalised scores of one method for the same training tracks in all clips."""

    clip_id: np.ndarray  # int32 [Q], ascending
    track_id: np.ndarray  # int32 [N], ascending
    value: np.ndarray  # float64 [Q, N]; NaN: not scored


@dataclass(frozen=True)
class PassageRecord:
    """A passage of a clip and one of a track that come close: copying, not influence."""

    number: int  # 1 = the closest of this pair
    clip_start_s: float
    clip_end_s: float
    track_start_s: float
    track_end_s: float
    semitones: int  # how far the track must be moved to fit the clip
    similarity: float  # higher = closer
    p_value: float  # how often a decoy comes as close to this clip


@dataclass(frozen=True)
class ScorePart:
    """The score over one stratum of the noise level t, 0 (clean) to 1 (noise)."""

    t_low: float
    t_high: float
    score: float


@dataclass(frozen=True)
class CopiedPassage:
    """A passage of a clip and one of a track that run alike, of any pair; copying, not influence."""

    clip_id: int
    track_id: int
    clip: tuple[float, float]  # seconds, from and to
    track: tuple[float, float]
    semitones: int  # how far the track must be moved to fit the clip
    similarity: float  # higher = closer
    p_value: float  # how often a decoy comes as close


@dataclass(frozen=True)
class Copying:
    """Result of a search for copied passages; `compared` is 0 where nothing was compared."""

    compared: int  # pairs of clip and track
    close: int  # pairs whose closest passage is as close as at most resemblance.CLOSE of the decoys
    passages: tuple[CopiedPassage, ...]  # of those, the closest first


@dataclass(frozen=True)
class AuditionCounts:
    """Numbers of training tracks by how much of them may be heard."""

    full: int
    excerpt: int
    none: int
    silent: int  # may be heard, but their audio is not part of this copy


@dataclass(frozen=True)
class TrackClaim:
    """The claim *shaped the model*: of a track, not of any clip. Run 1's clips alone count."""

    score_mean: float  # mean normalised score over generated and cohort clips
    p_value: float  # how often a decoy's mean is as high; NaN: not tested
    q_value: float  # NaN for decoys
    above_noise: bool
    clips_above: int  # generated clips for which the track is above noise
    clips: int  # generated clips
    is_hub: bool  # above noise for so many of them that its place says less about any one


class Controls(NamedTuple):
    """Controls that a method scored: training tracks unlearned themselves."""

    first: int  # of those, how many find their own track first
    scored: int

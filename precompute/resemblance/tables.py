"""The stage: (clip, track) pairs -> the columns of tables `aspects` and `passages`.

All sounds are compared after the same chain: files as they are, generated clips as decoded. Where some tracks are at
hand as latents alone, all tracks and clips are heard through the autoencoder, since its colour would otherwise set
them apart from the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from precompute.common.cache import Arrays, Cache
from precompute.common.progress import progress
from precompute.config.run import fingerprint
from precompute.corpus.audio import read_audio
from precompute.corpus.intake import Corpus
from precompute.model.diffusion import Items, Model
from precompute.resemblance.features import RATE, SoundSource, describe
from precompute.store.publication import Columns

TOP = 50  # tracks of a clip, by any method
PASSAGE_COLUMNS = (
    "clip_id track_id passage clip_start_s clip_end_s track_start_s track_end_s semitones similarity p_value"
).split()


@dataclass(frozen=True)
class ComparedClips:
    """Clips that are compared with tracks, all in one order."""

    items: Sequence[Items]  # latents; joined, those of `clip_ids`
    clip_ids: Sequence[int]
    paths: Sequence[Path | None]  # files of clips that were not generated


def choose_pairs(train_ranks: Iterable[np.ndarray], top: int = TOP) -> set[tuple[int, int]]:
    """(clip row, track row) among the first `top` training tracks of any method; train ranks [Q, N], 0 = a decoy."""
    pairs: set[tuple[int, int]] = set()
    for ranks in train_ranks:
        pairs |= {(int(q), int(i)) for q, i in zip(*np.nonzero((ranks > 0) & (ranks <= top)), strict=True)}
    return pairs


def tabulate_resemblance(
    model: Model, corpus: Corpus, tracks: Items, clips: ComparedClips, pairs: Iterable[tuple[int, int]], cache: Cache
) -> tuple[Columns, Columns]:
    """Columns of `aspects` and `passages` for (clip row, track row) pairs; `tracks`: latents of corpus.tracks.

    Features of a sound are cached by content.
    """
    paths = [track.path for track in corpus.tracks]
    as_files = all(path is not None for path in paths)
    if as_files:
        track_sounds = [_read_file(path, model) for path in paths if path is not None]
    else:
        track_sounds = [_read_latents(model, tracks, row) for row in range(len(tracks))]
    clip_sounds = [_read_latents(model, items, row) for items in clips.items for row in range(len(items))]
    if as_files:
        clip_sounds = [
            sound if path is None else _read_file(path, model)
            for sound, path in zip(clip_sounds, clips.paths, strict=True)
        ]
    track_features = [describe(sound, cache) for sound in progress("how tracks sound", track_sounds)]
    clip_features = [describe(sound, cache) for sound in progress("how clips sound", clip_sounds)]
    decoys = [row for row, track in enumerate(corpus.tracks) if track.is_decoy and not track.planted]
    track_ids = [track.track_id for track in corpus.tracks]
    by_clip_id = dict(zip(clips.clip_ids, clip_features, strict=True))
    return tabulate_features(by_clip_id, track_features, track_ids, decoys, pairs)


def tabulate_features(
    clips: Mapping[int, Arrays],
    tracks: Sequence[Arrays],
    track_ids: Sequence[int],
    decoys: Sequence[int],
    pairs: Iterable[tuple[int, int]],
) -> tuple[Columns, Columns]:
    """Columns of `aspects` and `passages` from features: clips by clip_id, tracks by row.

    `decoys` are rows of tracks, `pairs` (clip row, track row).
    """
    from precompute.resemblance.aspects import AspectComparison
    from precompute.resemblance.passages import DECOYS, PassageFinder

    aspects: Columns = {name: [] for name in ("clip_id", "track_id", "aspect", "percentile")}
    passages: Columns = {name: [] for name in PASSAGE_COLUMNS}
    by_clip: dict[int, list[int]] = {}
    for q, i in sorted(set(pairs)):
        by_clip.setdefault(q, []).append(i)
    if not by_clip:
        return aspects, passages
    clip_ids = list(clips)
    comparison = AspectComparison(list(clips.values()), tracks)
    chosen = [decoys[k * len(decoys) // DECOYS] for k in range(DECOYS)] if len(decoys) > DECOYS else list(decoys)
    for q, rows in progress("resemblance", list(by_clip.items())):
        finder = PassageFinder(clips[clip_ids[q]], [tracks[row] for row in chosen], tracks)
        for i in rows:
            ids = clip_ids[q], track_ids[i]
            for aspect, percentile in comparison.rank_similarities(q, i).items():
                _append(aspects, (*ids, aspect, percentile))
            for number, passage in enumerate(finder.find_passages(tracks[i]), start=1):
                values = (passage.semitones, passage.similarity, passage.p_value)
                _append(passages, (*ids, number, *passage.clip, *passage.track, *values))
    return aspects, passages


def _append(columns: Columns, row: Sequence[object]) -> None:
    for name, value in zip(columns, row, strict=True):
        columns[name].append(value)


def _read_file(path: Path, model: Model) -> SoundSource:
    """A file up to the length of the model's window."""

    def read_wave() -> np.ndarray:
        return read_audio(path, RATE, 1)[0, : model.sample_size * RATE // model.sample_rate]

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return SoundSource(fingerprint(digest, model.sample_size / model.sample_rate), read_wave)


def _read_latents(model: Model, items: Items, row: int) -> SoundSource:
    digest = hashlib.sha256(items.latents[row].numpy().tobytes()).hexdigest()
    seconds = float(items.seconds[row])
    read_wave = partial(_decode, model, items, row, seconds)
    return SoundSource(fingerprint(model.inputs_sha256, digest, seconds), read_wave)


def _decode(model: Model, items: Items, row: int, seconds: float) -> np.ndarray:
    import soxr

    wave = model.decode(items.latents[row])[:, : max(1, round(seconds * model.sample_rate))]
    return soxr.resample(wave.mean(0), model.sample_rate, RATE, quality="HQ")

"""The stage: (clip, track) pairs -> the columns of tables `aspects` and `passages`.

Everything is compared as it sounds through the same chain: files as they are, generated clips as decoded. Where some
tracks are at hand as latents alone, all tracks and clips are heard through the autoencoder, since its colour would
otherwise tell them apart from the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from precompute.common.cache import Arrays, Cache
from precompute.common.progress import progress
from precompute.config.run import fingerprint
from precompute.corpus.stages import Corpus
from precompute.corpus.tracks import read_audio
from precompute.model.diffusion import Items, Model
from precompute.resemblance.features import RATE, SoundSource, describe
from precompute.store.publication import Columns

TOP = 50  # tracks of a clip, by any method


def pairs_of(train_ranks: Iterable[np.ndarray], top: int = TOP) -> set[tuple[int, int]]:
    """(clip row, track row) among the first `top` training tracks of any method; train ranks [Q, N], 0 = a decoy."""
    pairs: set[tuple[int, int]] = set()
    for ranks in train_ranks:
        pairs |= {(int(q), int(i)) for q, i in zip(*np.nonzero((ranks > 0) & (ranks <= top)), strict=True)}
    return pairs


def resemblance(
    model: Model,
    corpus: Corpus,
    tracks: Items,
    clips: Sequence[Items],
    clip_ids: Sequence[int],
    clip_paths: Sequence[Path | None],
    pairs: Iterable[tuple[int, int]],
    cache: Cache,
) -> tuple[Columns, Columns]:
    """Columns of `aspects` and `passages` for (clip row, track row) pairs.

    `tracks` and, joined, `clips` hold the latents of corpus.tracks and of clip_ids, in their order; `clip_paths` the
    files of clips that were not generated. Features of a sound are kept in the cache, by content.
    """
    heard = [t.path for t in corpus.tracks]
    if all(path is not None for path in heard):
        track_sounds = [_from_file(path, model) for path in heard if path is not None]
    else:
        track_sounds = [_from_latents(model, tracks, row) for row in range(len(tracks))]
    clip_sounds = [_from_latents(model, items, row) for items in clips for row in range(len(items))]
    if all(path is not None for path in heard):
        clip_sounds = [
            sound if path is None else _from_file(path, model)
            for sound, path in zip(clip_sounds, clip_paths, strict=True)
        ]
    described = [describe(sound, cache) for sound in progress("how tracks sound", track_sounds)]
    of_clips = [describe(sound, cache) for sound in progress("how clips sound", clip_sounds)]
    decoys = [row for row, track in enumerate(corpus.tracks) if track.is_decoy and not track.planted]
    ids = [t.track_id for t in corpus.tracks]
    return compare(dict(zip(clip_ids, of_clips, strict=True)), described, ids, decoys, pairs)


def compare(
    clips: Mapping[int, Arrays],
    tracks: Sequence[Arrays],
    track_ids: Sequence[int],
    decoys: Sequence[int],
    pairs: Iterable[tuple[int, int]],
) -> tuple[Columns, Columns]:
    """The same from features: clips by clip_id, tracks by row; `decoys` are track rows, pairs are rows of both."""
    from precompute.resemblance.aspects import AspectComparison
    from precompute.resemblance.passages import DECOYS, PassageFinder

    aspects: Columns = {name: [] for name in ("clip_id", "track_id", "aspect", "percentile")}
    passages: Columns = {name: [] for name in _PASSAGE}
    by_clip: dict[int, list[int]] = {}
    for q, i in sorted(set(pairs)):
        by_clip.setdefault(q, []).append(i)
    if not by_clip:
        return aspects, passages
    clip_ids = list(clips)
    alike = AspectComparison(list(clips.values()), tracks)
    kept = [decoys[k * len(decoys) // DECOYS] for k in range(DECOYS)] if len(decoys) > DECOYS else list(decoys)
    for q, rows in progress("resemblance", list(by_clip.items())):
        copies = PassageFinder(clips[clip_ids[q]], [tracks[row] for row in kept], tracks)
        for i in rows:
            for aspect, percentile in alike.percentiles(q, i).items():
                for name, value in zip(aspects, (clip_ids[q], track_ids[i], aspect, percentile), strict=True):
                    aspects[name].append(value)
            for number, found in enumerate(copies.passages(tracks[i]), start=1):
                values = (found.semitones, found.similarity, found.p_value)
                row = (clip_ids[q], track_ids[i], number, *found.clip, *found.track, *values)
                for name, value in zip(passages, row, strict=True):
                    passages[name].append(value)
    return aspects, passages


_PASSAGE = (
    "clip_id track_id passage clip_start_s clip_end_s track_start_s track_end_s semitones similarity p_value"
).split()


def _from_file(path: Path, model: Model) -> SoundSource:
    """As far as the model hears it."""

    def wave() -> np.ndarray:
        return read_audio(path, RATE, 1)[0, : model.sample_size * RATE // model.sample_rate]

    return SoundSource(
        fingerprint(hashlib.sha256(path.read_bytes()).hexdigest(), model.sample_size / model.sample_rate), wave
    )


def _from_latents(model: Model, items: Items, row: int) -> SoundSource:
    digest = hashlib.sha256(items.latents[row].numpy().tobytes()).hexdigest()
    seconds = float(items.seconds[row])
    return SoundSource(fingerprint(model.inputs_sha256, digest, seconds), partial(_decoded, model, items, row, seconds))


def _decoded(model: Model, items: Items, row: int, seconds: float) -> np.ndarray:
    import soxr

    wave = model.decode(items.latents[row])[:, : max(1, round(seconds * model.sample_rate))]
    return soxr.resample(wave.mean(0), model.sample_rate, RATE, quality="HQ")

"""Renders the excerpts of a session: all of one length, one rate, one number of channels and one loudness.

Sound is float32 [samples, channels], full scale 1, at RATE. Loudness in LUFS (BS.1770), gains in dB. Every excerpt is
a WAV of its own with its own dither: neither header nor size nor bytes tell two lanes apart, or that two are the same.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from explorer.listening_sessions.records import LaneExcerpt
from explorer.sound.permission import SoundRefusedError, locate_audio, measure_heard
from explorer.store import Store
from explorer.store.records import SoundRecord

RATE = 44_100  # Hz
TARGET_LUFS = -18.0  # no louder than this
HEADROOM_DB = 1.0  # below full scale
QUIET_LUFS = -45.0  # quieter excerpts would be mostly noise when raised: they are left out
EDGE_S = 0.01  # faded in and out
LEAST_S, MOST_S = 1.0, 30.0  # of an excerpt
_CACHED = 48  # rendered excerpts; 0.9 MB each at 5 s of stereo


@dataclass(frozen=True)
class ExcerptLevels:
    """Loudness and peak of an excerpt, before any gain."""

    loudness_lufs: float
    peak_dbfs: float
    channels: int


def identify_store(store: Store) -> str:
    """A name of the run that made the store: another run may give the same ids to other music."""
    run = store.runs.read_latest()
    return f"{run.model_sha256} {run.started_at.isoformat()}"


def find_sound(store: Store, clip_id: int, track_id: int | None) -> SoundRecord:
    """The sound of a track, or of the clip where `track_id` is None. Raises UnknownIdError."""
    return store.clips.read_sound(clip_id) if track_id is None else store.tracks.read_sound(track_id)


def measure_excerpt(store: Store, sound: SoundRecord, start_s: float, seconds: float) -> ExcerptLevels:
    """Loudness and peak of one excerpt.

    Raises SoundRefusedError where it may not be heard, cannot be decoded, is too short or near-silent.
    """
    import pyloudnorm  # late: it brings scipy

    samples = _read(store, sound, start_s, seconds)
    loudness = pyloudnorm.Meter(RATE).integrated_loudness(samples)
    if not math.isfinite(loudness) or loudness < QUIET_LUFS:
        raise SoundRefusedError(404, "it is near-silent there")
    return ExcerptLevels(float(loudness), 20 * math.log10(float(np.abs(samples).max())), samples.shape[1])


def match_gains(measured: list[ExcerptLevels]) -> list[float]:
    """Gain of each in dB, so that all are equally loud and none comes closer than HEADROOM_DB to full scale."""
    target = min(TARGET_LUFS, *(one.loudness_lufs - one.peak_dbfs - HEADROOM_DB for one in measured))
    return [target - one.loudness_lufs for one in measured]


def render_excerpt(store: Store, excerpt: LaneExcerpt, token: str) -> bytes:
    """The WAV of one lane, the same whenever one token asks. Raises SoundRefusedError, also over another store."""
    if excerpt.store_key != identify_store(store):
        raise SoundRefusedError(409, "this session was made over another store: start the explorer with that one")
    sound = find_sound(store, excerpt.clip_id, excerpt.track_id)
    file = locate_audio(store, sound)  # `audition` is asked again: what it allows may have changed
    return _render(store, sound, excerpt, token, file.path.stat().st_mtime_ns)


@lru_cache(_CACHED)
def _render(store: Store, sound: SoundRecord, excerpt: LaneExcerpt, token: str, mtime_ns: int) -> bytes:
    """The cached part of `render_excerpt`. `mtime_ns` keeps a replaced file from being served stale."""
    samples = _read(store, sound, excerpt.start_s, excerpt.seconds) * 10 ** (excerpt.gain_db / 20)
    if samples.shape[1] != excerpt.channels:
        mono = samples.mean(axis=1, keepdims=True)
        samples = np.repeat(mono, excerpt.channels, axis=1)
    edge = round(EDGE_S * RATE)
    fade = np.linspace(0, 1, edge, dtype=np.float32)[:, None]
    samples[:edge] *= fade
    samples[-edge:] *= fade[::-1]
    # Triangular dither of one step, seeded by the token.
    dice = np.random.default_rng(list(token.encode()))
    noise = dice.random(samples.shape) - dice.random(samples.shape)
    whole = np.clip(np.round(samples * 32767 + noise), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, whole, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _read(store: Store, sound: SoundRecord, start_s: float, seconds: float) -> np.ndarray:
    """Samples at RATE, float32 [round(seconds * RATE), 1 or 2]. Raises SoundRefusedError."""
    file = locate_audio(store, sound)
    if start_s + seconds > measure_heard(sound) + 0.05:
        raise SoundRefusedError(403, "the excerpt reaches beyond what may be heard")
    try:
        samples, rate = _decode(file.path, start_s, seconds)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SoundRefusedError(404, "the audio file cannot be decoded") from error
    if rate != RATE:
        import soxr

        samples = soxr.resample(samples, rate, RATE, quality="HQ")
    count = round(seconds * RATE)
    if len(samples) < count - round(0.1 * RATE):
        raise SoundRefusedError(404, "the audio file is shorter than the store says")
    samples = samples[:count]
    return np.pad(samples, ((0, count - len(samples)), (0, 0))).astype(np.float32)


def _decode(path: Path, start_s: float, seconds: float) -> tuple[np.ndarray, int]:
    with soundfile.SoundFile(path) as source:
        source.seek(min(round(start_s * source.samplerate), source.frames))
        count = math.ceil(seconds * source.samplerate) + 1
        samples = source.read(count, dtype="float32", always_2d=True)
        return samples[:, :2], source.samplerate  # of more than two channels, the first two

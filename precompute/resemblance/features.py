"""Features of a sound for comparison: chroma, predominant pitch, onsets, tempogram, timbre (librosa 0.11).

Conventions: waveforms are mono float32 at RATE; sequences run over frames of HOP_S seconds; pitch classes count from C.
Everything is scaled by the sound's own level, so that loudness plays no part.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from precompute.common.cache import Arrays, Cache, Entry
from precompute.config.run import fingerprint

RATE = 22_050  # hertz
HOP = 2048  # samples of one frame of a sequence
HOP_S = HOP / RATE  # 0.093 s
FINE = 512  # samples between values of the onset envelope
SHORTEST = 2 * RATE  # shorter sounds are padded with silence: the lowest octaves need so much
OCTAVES = 7  # from C1, 32.7 Hz
LAGS = 172  # of the tempogram: up to 4 s, 15 beats a minute
QUIET = 1e-3  # of the loudest frame, in amplitude: frames below carry no pitch
VERSION = 1  # to be raised when a feature is computed otherwise, so that cached ones are left alone


@dataclass(frozen=True)
class SoundSource:
    """A sound to be described; it is read only where its features are not cached yet."""

    digest: str  # of its content
    wave: Callable[[], np.ndarray]  # [T] mono at RATE


def describe(sound: SoundSource, cache: Cache) -> Arrays:
    """Features of a sound by `compute_features`, from the cache where they are there."""
    return cache.get(Entry("sound", fingerprint(VERSION, sound.digest)), lambda: compute_features(sound.wave()))


def compute_features(wave: np.ndarray) -> Arrays:
    """Features of [T] samples at RATE, float32; n = frames of HOP_S seconds that the sound fills, padding left out.

    chroma [n, 12]: energy by pitch class, of length 1, zero where it is quiet. melody [n, 12]: likewise of the
    predominant pitch. onset [n]: strength of note beginnings, 0 to 1. harmony [12, 12]: which pitch classes sound
    together. tempogram [LAGS]: mean autocorrelation of the onset envelope. density: onsets per second.
    timbre [K]: means and deviations of MFCC, contrast, centroid, bandwidth, roll-off and flatness. seconds: of sound.
    """
    import librosa

    frames = max(1, -(-len(wave) // HOP))
    wave = wave / max(float(np.abs(wave).max(initial=0.0)), 1e-9)
    padded = np.pad(wave, (0, max(0, SHORTEST - len(wave)))).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of silent or short sounds: no tuning to be found, a window longer than them
        pitch = np.abs(librosa.cqt(padded, sr=RATE, hop_length=HOP, n_bins=12 * OCTAVES, tuning=None))[:, :frames]
        mel = librosa.feature.melspectrogram(y=padded, sr=RATE, hop_length=FINE)
        envelope = librosa.onset.onset_strength(S=librosa.power_to_db(mel), sr=RATE, hop_length=FINE)
    fine = min(len(envelope), max(1, -(-len(wave) // FINE)))
    chroma = _fold_octaves(np.log1p(30 * pitch / max(float(pitch.max()), 1e-9)), pitch)
    return {
        "chroma": chroma,
        "melody": _fold_octaves(_compute_salience(pitch) ** 4, pitch),
        "onset": _pool_onsets(envelope[:fine], frames),
        "harmony": (chroma.T @ chroma / max(1, len(chroma))).astype(np.float32),
        "tempogram": _average_tempogram(envelope[:fine]),
        "density": np.float32(_count_onsets(envelope[:fine]) * RATE / max(len(wave), FINE)),
        "timbre": _summarise_timbre(padded, mel, fine),
        "seconds": np.float64(len(wave) / RATE),
    }


def _fold_octaves(energy: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """[bins, n] -> [n, 12] rows of length 1 after their mean is taken out; zero where `pitch` is quiet."""
    chroma = energy.reshape(OCTAVES, 12, -1).sum(0).T
    chroma = chroma - chroma.mean(1, keepdims=True)
    length = np.linalg.norm(chroma, axis=1, keepdims=True)
    loud = pitch.max(0) > QUIET * max(float(pitch.max()), 1e-9)
    return np.where(loud[:, None] & (length > 1e-6), chroma / np.maximum(length, 1e-6), 0).astype(np.float32)


def _compute_salience(pitch: np.ndarray) -> np.ndarray:
    """[bins, n]: how much each pitch is backed by its harmonics, at most 1 in a frame; 0 outside C3 to C7."""
    import librosa

    hertz = librosa.cqt_frequencies(pitch.shape[0], fmin=float(librosa.note_to_hz("C1")))
    salience = librosa.salience(
        pitch, freqs=hertz, harmonics=[1, 2, 3, 4], weights=[1, 0.5, 0.33, 0.25], filter_peaks=False, fill_value=0.0
    )
    salience = np.nan_to_num(salience)
    salience[:24] = 0
    salience[72:] = 0
    return salience / np.maximum(salience.max(0, keepdims=True), 1e-9)


def _pool_onsets(envelope: np.ndarray, frames: int) -> np.ndarray:
    """Strongest onset in each frame of HOP_S seconds, [frames]; 1 = the sound's 95th percentile or more."""
    step = HOP // FINE
    padded = np.pad(envelope, (0, max(0, frames * step - len(envelope))))[: frames * step]
    peaks = padded.reshape(frames, step).max(1)
    return np.clip(peaks / max(float(np.percentile(envelope, 95)), 1e-6), 0, 1).astype(np.float32)


def _average_tempogram(envelope: np.ndarray) -> np.ndarray:
    """[LAGS] mean over time, of zero mean and length 1; zero where nothing begins."""
    import librosa

    padded = np.pad(envelope, (0, max(0, 2 * LAGS - len(envelope))))
    mean = librosa.feature.tempogram(onset_envelope=padded, sr=RATE, hop_length=FINE, win_length=LAGS).mean(1)
    mean = mean - mean.mean()
    return (mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float32)


def _count_onsets(envelope: np.ndarray) -> int:
    """Number of note beginnings."""
    import librosa

    return len(librosa.onset.onset_detect(onset_envelope=envelope, sr=RATE, hop_length=FINE))


def _summarise_timbre(padded: np.ndarray, mel: np.ndarray, fine: int) -> np.ndarray:
    """Means and standard deviations of the spectrum's measures over the loud frames, [K]."""
    import librosa

    spectrum = np.abs(librosa.stft(padded, n_fft=2048, hop_length=FINE))[:, :fine]
    loudness = spectrum.max(0)
    loud = loudness > 0.01 * max(float(loudness.max()), 1e-9)
    if not loud.any():
        loud[:] = True
    spectrum = spectrum[:, loud]
    rows = [
        librosa.feature.mfcc(S=librosa.power_to_db(mel[:, :fine][:, loud]), n_mfcc=20)[1:],  # 0 is loudness
        librosa.feature.spectral_contrast(S=spectrum, sr=RATE),
        np.log2(librosa.feature.spectral_centroid(S=spectrum, sr=RATE) + 50),
        np.log2(librosa.feature.spectral_bandwidth(S=spectrum, sr=RATE) + 50),
        np.log2(librosa.feature.spectral_rolloff(S=spectrum, sr=RATE) + 50),
        np.log10(librosa.feature.spectral_flatness(S=spectrum) + 1e-8),
    ]
    table = np.concatenate(rows)
    return np.concatenate([table.mean(1), table.std(1)]).astype(np.float32)

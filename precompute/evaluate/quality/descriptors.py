"""Musical descriptors of a waveform by signal processing alone: a feature space that nothing was trained on.

Conventions: waveforms are mono float32 [T] with full scale 1; levels in dB, where 0 dB is a sine of full scale. All
functions accept silence, a few samples, or none. Frames are 12 ms apart at every sample rate.
"""

from __future__ import annotations

import librosa
import numpy as np

HOP_S = 0.0116  # between frames
MEL_WINDOW_S, CHROMA_WINDOW_S = 0.04, 0.16
MEL_BANDS = 40
MEL_LOW_HZ = 30.0
ONSET_BANDS = 80
MFCCS = 13
FLOOR_DB = -90.0  # below 16-bit dither; keeps silence finite
ONSET_RANGE_DB = 60.0  # below the loudest band: what is fainter starts no note
ONSET_LAG = 4  # frames (46 ms) over which a band's rise is measured: bowed and blown notes swell
ONSET_RISE_DB = 0.5  # mean over bands, above the local mean; absolute, so that a held chord has no onsets
PITCH_CLASSES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def compute_descriptors(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T] -> [195]: mean, standard deviation and mean absolute difference of 40 log-mel bands, 12 chroma, 13 MFCCs.

    All three are over time, the difference from frame to frame; log-mel in dB, chroma as shares of a frame. Level
    counts: recordings are compared as loud as they are.
    """
    mel = compute_log_mel(wave, sample_rate, MEL_BANDS)
    strength = compute_chroma(wave, sample_rate)
    shares = strength / (strength.sum(0, keepdims=True) + 1e-6)
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=MFCCS)
    return np.concatenate([_summarise_over_time(part) for part in (mel, shares, mfcc)])


def _summarise_over_time(frames: np.ndarray) -> np.ndarray:
    """Mean, standard deviation and mean absolute difference over time, [bands, frames] -> [3 bands]."""
    values = frames.astype(np.float64)
    change = np.abs(np.diff(values, axis=1)).mean(1) if values.shape[1] > 1 else np.zeros(len(values))
    return np.concatenate([values.mean(1), values.std(1), change])


def compute_log_mel(wave: np.ndarray, sample_rate: int, bands: int, highest_hz: float | None = None) -> np.ndarray:
    """[T] -> [bands, frames] in dB from FLOOR_DB up, from 30 Hz to `highest_hz` (left out: half the sample rate)."""
    window = _count_samples(MEL_WINDOW_S, sample_rate)
    power = librosa.feature.melspectrogram(
        y=_pad(wave, window),
        sr=sample_rate,
        n_fft=window,
        hop_length=_count_hop(sample_rate),
        n_mels=bands,
        fmin=MEL_LOW_HZ,
        fmax=highest_hz,
        norm=None,
    )
    full_scale = (window / 4) ** 2  # power of a full-scale sine under a Hann window
    return librosa.power_to_db(power / full_scale, ref=1.0, amin=10 ** (FLOOR_DB / 10), top_db=None)


def compute_chroma(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T] -> [12, frames], at least 0: magnitude by pitch class from C, at concert pitch (A = 440 Hz)."""
    window = _count_samples(CHROMA_WINDOW_S, sample_rate)
    padded = _pad(wave, window)
    magnitude = np.abs(librosa.stft(padded, n_fft=window, hop_length=_count_hop(sample_rate))) / (window / 4)
    return librosa.feature.chroma_stft(S=magnitude, sr=sample_rate, n_fft=window, norm=None, tuning=0.0)


def measure_pitch_classes(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T] -> [12] from C, sums to 1: how the magnitude is spread over pitch classes; of silence evenly."""
    total = compute_chroma(wave, sample_rate).sum(1, dtype=np.float64)
    return total / total.sum() if total.sum() > 1e-6 else np.full(12, 1 / 12)


def measure_onset_rate(wave: np.ndarray, sample_rate: int) -> float:
    """Onsets per second of [T]; 0 for silence.

    Peaks of the spectral flux with a maximum filter over bands, which leaves vibrato out (Böck & Widmer 2013). A sound
    that stands in the first frame has no rise and is not counted.
    """
    if not len(wave):
        return 0.0
    mel = compute_log_mel(wave, sample_rate, ONSET_BANDS)
    mel = np.maximum(mel, mel.max() - ONSET_RANGE_DB)
    hop = _count_hop(sample_rate)
    rise = librosa.onset.onset_strength(S=mel, sr=sample_rate, hop_length=hop, lag=ONSET_LAG, max_size=3)
    onsets = librosa.onset.onset_detect(
        onset_envelope=rise, sr=sample_rate, hop_length=hop, normalize=False, delta=ONSET_RISE_DB
    )
    return len(onsets) * sample_rate / len(wave)


def _count_hop(sample_rate: int) -> int:
    return max(1, round(HOP_S * sample_rate))


def _count_samples(seconds: float, sample_rate: int) -> int:
    return max(4, round(seconds * sample_rate))


def _pad(wave: np.ndarray, window: int) -> np.ndarray:
    """The wave filled up with silence to at least one window, so that the shortest recordings have a spectrum."""
    return np.pad(np.asarray(wave, dtype=np.float32), (0, max(0, window - len(wave))))
